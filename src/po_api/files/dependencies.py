"""Dependencies of the handlers of files, and the responses with their contents."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Path, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile

from po_api.core.actor import Actor
from po_api.db.database import Database
from po_api.db.pagination import PageRequest
from po_api.db.query import connected
from po_api.files.checking import checked_file
from po_api.files.domain import MAX_FILE_BYTES, CheckedFile
from po_api.files.file_types import FILE_TYPES
from po_api.files.names import attachment_header
from po_api.files.queries import PART_BYTES, SORTS, FileQueries, FileRow
from po_api.web.dependencies import executor_of, paging
from po_api.web.openapi import binary
from po_api.web.schemas import MAX_ID

# Requests with a longer body than others, and what they may have at most: a file and the rest of the form.
UPLOADS = re.compile(r"/api/v1/(porfs|purchase-orders)/[0-9]+/files")
MAX_UPLOAD_BYTES = MAX_FILE_BYTES + 64 * 1024

FILES = binary(*(kind.media_type for kind in FILE_TYPES))


async def _checked(request: Request) -> CheckedFile | None:
    """The file of an upload, checked and scanned; None without one, which the validation of the form reports.

    The request has waited for its turn, for which its credentials were checked, and its transaction has not begun: none
    is open while the scanner works.
    """
    file = (await request.form()).get("file")
    if not isinstance(file, UploadFile):
        return None
    content = await file.read(MAX_FILE_BYTES + 1)  # one more tells that it is too large
    await file.seek(0)  # for the digest of an Idempotency-Key
    return await checked_file(file.filename or "", content, request.app.state.scanner)


# Of an operation, before IDEMPOTENT: the transaction begins with that.
CHECKED_FILE = Depends(_checked)
CheckedFileDep = Annotated[CheckedFile | None, CHECKED_FILE]
FilePaging = Annotated[PageRequest, Depends(paging(*SORTS))]
FileId = Annotated[int, Path(ge=1, le=MAX_ID)]


def attached(file_id: int, item: str, document: str) -> Response:
    """The response to an upload to the document at this path; the content is at its `Location`."""
    headers = {"Location": f"{document}/files/{file_id}/content"}
    return Response(item, 201, media_type="application/json", headers=headers)


async def download(request: Request, actor: Actor, file: FileRow) -> StreamingResponse:
    """The content, which is read part by part: a slow client holds neither a connection nor the whole file."""
    first = await FileQueries(executor_of(request), actor).part(file.digest, 0)
    headers = {
        # Not as `media_type`, to which the charset of texts would be added: theirs is not known.
        "Content-Type": file.media_type,
        "Content-Disposition": attachment_header(file.name),
        "Content-Length": str(file.size),
    }
    database: Database = request.app.state.database
    return StreamingResponse(_parts(database, actor, file, first), headers=headers)


async def _parts(database: Database, actor: Actor, file: FileRow, first: bytes) -> AsyncIterator[bytes]:
    yield first
    for start in range(PART_BYTES, file.size, PART_BYTES):
        async with connected(database.engine) as executor:
            part = await FileQueries(executor, actor).part(file.digest, start)
        yield part
