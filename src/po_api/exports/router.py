"""/porfs/export, /purchase-orders/export and /suppliers/export: lists as CSV and XLSX."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse

from po_api.core.permissions import Permission
from po_api.db.database import Database
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.exports.columns import PORFS, PURCHASE_ORDERS, SUPPLIERS, Column
from po_api.exports.files import CsvFile, TableFile, XlsxFile
from po_api.exports.service import CountRows, ReadPage, parts_of, request_for, require_size
from po_api.porfs.dependencies import PorfFiltersDep
from po_api.porfs.exports import FileType
from po_api.porfs.files_router import FILES, MEDIA_TYPES, Format
from po_api.porfs.read_service import PorfReadService
from po_api.purchase_orders.dependencies import PurchaseOrderFiltersDep
from po_api.purchase_orders.read_service import PurchaseOrderReadService
from po_api.suppliers.dependencies import SupplierFiltersDep
from po_api.suppliers.queries import SupplierQueries
from po_api.suppliers.schemas import SupplierRead
from po_api.web.dependencies import ActorDep, executor_of
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

porfs_router = api_router(prefix="/porfs", tags=["porfs"])
purchase_orders_router = api_router(prefix="/purchase-orders", tags=["purchase orders"])
suppliers_router = api_router(prefix="/suppliers", tags=["suppliers"])

Sort = Annotated[
    str | None, Query(max_length=100, description="As in the list; the order of the rows", examples=["-created_at"])
]
_NEW_FILE: Mapping[FileType, Callable[[Sequence[Column]], TableFile]] = {FileType.CSV: CsvFile, FileType.XLSX: XlsxFile}


async def _respond(
    request: Request,
    name: str,
    columns: Sequence[Column],
    *,
    read: ReadPage,
    count: CountRows,
    sort: str | None,
    file_type: FileType,
) -> Response:
    """The file; its first batch is read before the response begins, so that a failure is a problem."""
    await require_size(count, request.app.state.export_max_rows)
    first = await read(executor_of(request), request_for(sort))
    database: Database = request.app.state.database
    parts = parts_of(database.engine, read, first, sort=sort, columns=columns, new_file=_NEW_FILE[file_type])
    headers = {"Content-Disposition": f'attachment; filename="{name}.{file_type}"'}
    return StreamingResponse(parts, media_type=MEDIA_TYPES[file_type], headers=headers)


@porfs_router.get(
    "/export",
    operation_id="exportPorfs",
    summary="Export purchase order requests",
    response_class=Response,
    responses=FILES | problems(403),
    openapi_extra=requires(Permission.PORFS_READ, is_heavy=True),
)
async def export_porfs(
    request: Request,
    actor: ActorDep,
    filters: PorfFiltersDep,
    sort: Sort = None,
    format: Format = FileType.CSV,  # noqa: A002
) -> Response:
    """Export the requests of the list with these filters, a row for each. `/docs/limits` has the maximum of rows."""
    return await _respond(
        request,
        "porfs",
        PORFS,
        read=lambda executor, page: PorfReadService(executor, actor).exported_page(filters, page),
        count=lambda limit: PorfReadService(executor_of(request), actor).count(filters, limit=limit),
        sort=sort,
        file_type=format,
    )


@purchase_orders_router.get(
    "/export",
    operation_id="exportPurchaseOrders",
    summary="Export purchase orders",
    response_class=Response,
    responses=FILES | problems(403),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ, is_heavy=True),
)
async def export_orders(
    request: Request,
    actor: ActorDep,
    filters: PurchaseOrderFiltersDep,
    sort: Sort = None,
    format: Format = FileType.CSV,  # noqa: A002
) -> Response:
    """Export the orders of the list with these filters, a row for each. `/docs/limits` has the maximum of rows."""
    return await _respond(
        request,
        "purchase-orders",
        PURCHASE_ORDERS,
        read=lambda executor, page: PurchaseOrderReadService(executor, actor).exported_page(filters, page),
        count=lambda limit: PurchaseOrderReadService(executor_of(request), actor).count(filters, limit=limit),
        sort=sort,
        file_type=format,
    )


@suppliers_router.get(
    "/export",
    operation_id="exportSuppliers",
    summary="Export suppliers",
    response_class=Response,
    responses=FILES | problems(403),
    openapi_extra=requires(Permission.SUPPLIERS_READ, is_heavy=True),
)
async def export_suppliers(
    request: Request,
    actor: ActorDep,
    filters: SupplierFiltersDep,
    sort: Sort = None,
    format: Format = FileType.CSV,  # noqa: A002
) -> Response:
    """Export the suppliers of the list with these filters, a row for each. `/docs/limits` has the maximum of rows."""

    async def read(executor: QueryExecutor, page: PageRequest) -> PageOf[str]:
        found = await SupplierQueries(executor, actor).page(filters, page)
        items = [SupplierRead.model_validate(row).model_dump_json() for row in found.items]
        return PageOf(items, found.next_cursor)

    return await _respond(
        request,
        "suppliers",
        SUPPLIERS,
        read=read,
        count=lambda limit: SupplierQueries(executor_of(request), actor).count(filters, limit=limit),
        sort=sort,
        file_type=format,
    )
