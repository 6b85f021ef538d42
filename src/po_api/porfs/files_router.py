"""/porfs/import, the import template and the export: lines as CSV and XLSX."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response

from po_api.core.offload import offload_file
from po_api.core.permissions import Permission
from po_api.core.records import extract
from po_api.porfs import exports, imports
from po_api.porfs.content import HEADER_FIELDS, PorfInput
from po_api.porfs.dependencies import PorfReadServiceDep, PorfServiceDep
from po_api.porfs.queries import PorfLineRow
from po_api.porfs.read_service import LineCodes
from po_api.porfs.router import PorfId
from po_api.porfs.schemas import ImportPorfBody, PorfRead
from po_api.web.dependencies import ActorDep, unit_of
from po_api.web.etags import created
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import binary, problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/porfs", tags=["porfs"])

MEDIA_TYPES = {
    imports.FileType.CSV: "text/csv; charset=utf-8",
    imports.FileType.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
Format = Annotated[imports.FileType, Query(description="File format")]
FILES = binary("text/csv", MEDIA_TYPES[imports.FileType.XLSX])


def _file(content: bytes, name: str, file_type: imports.FileType) -> Response:
    """A download: the name is the server's own, so it needs no quoting."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.{file_type}"'}
    return Response(content, media_type=MEDIA_TYPES[file_type], headers=headers)


@router.post(
    "/import",
    operation_id="importPorf",
    summary="Import a purchase order request",
    status_code=201,
    response_model=PorfRead,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409, 413),
    openapi_extra=requires(Permission.PORFS_WRITE, is_heavy=True),
)
async def import_porf(
    service: PorfServiceDep, body: Annotated[ImportPorfBody, Form(media_type="multipart/form-data")]
) -> Response:
    """Create a purchase order request from a CSV or XLSX file of lines.

    Of a workbook, what a cell shows is read: `00123`, or 20 of `20%` in the columns of percentages. A cell is refused
    if its number format shows a number rounded or cannot be interpreted, if its formula has no stored value, or if it
    shows another currency than the request's.
    """
    header: dict[str, Any] = dict.fromkeys(HEADER_FIELDS) | body.model_dump(exclude={"file"})
    currency = header.get("currency") or await service.base_currency()
    categories, cost_centres = await service.known_codes()
    context = imports.Context(currency, categories, cost_centres)
    lines = await offload_file(imports.parse, await body.file.read(), context)
    return created(await service.create(PorfInput(**header, lines=lines)), router.prefix)


@router.get(
    "/import-template",
    operation_id="getPorfImportTemplate",
    summary="Get the import template",
    response_class=Response,
    responses=FILES | problems(403),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def get_template(_actor: ActorDep, format: Format = imports.FileType.CSV) -> Response:  # noqa: A002
    return _file(imports.template(format), "porf-lines", format)


@router.get(
    "/{porf_id}/export",
    operation_id="exportPorf",
    summary="Export the lines of a request",
    response_class=Response,
    responses=FILES | problems(403, 404),
    openapi_extra=requires(Permission.PORFS_READ, is_heavy=True),
)
async def export_porf(
    request: Request,
    porfs: PorfReadServiceDep,
    porf_id: PorfId,
    format: Format = imports.FileType.CSV,  # noqa: A002
) -> Response:
    header, content = await porfs.content(porf_id)
    codes = await porfs.codes(content)
    await unit_of(request).executor.close()  # no connection is held while the file is written
    file = await offload_file(_exported, content, codes, format)
    return _file(file, header.number, format)


def _exported(lines: Iterable[PorfLineRow], codes: LineCodes, file_type: imports.FileType) -> bytes:
    rows = [
        extract(
            exports.ExportedLine,
            line,
            category=codes.categories.get(line.category_id),
            cost_centre=codes.cost_centres.get(line.cost_centre_id),
        )
        for line in lines
    ]
    return exports.write(rows, file_type)
