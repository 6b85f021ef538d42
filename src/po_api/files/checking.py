"""Checks of an uploaded file before anything is stored."""

import hashlib

from po_api.core.errors import FieldError
from po_api.core.offload import offload_file
from po_api.files.domain import MAX_FILE_BYTES, CheckedFile
from po_api.files.errors import FileInfected, FileTooLarge, FileTypeRefused
from po_api.files.file_types import file_type
from po_api.files.names import safe_name
from po_api.files.scanning import Scanner

# For the member who has chosen the file.
_DETAILS = {
    FileTooLarge: "A file has at most 20 MiB.",
    FileTypeRefused: "The content has to be PDF, PNG, JPEG, XLSX or DOCX without macros, an e-mail (EML), CSV or TXT.",
    FileInfected: "The virus scanner found something in the file.",
}


async def checked_file(name: str, content: bytes, scanner: Scanner | None) -> CheckedFile:
    """The file, if it is accepted. Raises FileTooLarge, FileTypeRefused, FileInfected or ScannerUnavailable."""
    file = await offload_file(_accepted, name, content)
    if scanner is not None:
        try:
            await scanner.require_clean(content)
        except FileInfected:
            raise FileInfected(errors=(_about(FileInfected),)) from None
    return file


def _accepted(name: str, content: bytes) -> CheckedFile:
    if len(content) > MAX_FILE_BYTES:
        raise FileTooLarge(errors=(_about(FileTooLarge),))
    found = file_type(name, content)
    if found is None:
        raise FileTypeRefused(errors=(_about(FileTypeRefused),))
    return CheckedFile(
        safe_name(name, found.extensions), found.media_type, content, hashlib.sha256(content).hexdigest()
    )


def _about(error: type[FileTooLarge | FileTypeRefused | FileInfected]) -> FieldError:
    return FieldError("/file", error.code, _DETAILS[error])
