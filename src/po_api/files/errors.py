"""Errors of files."""

from po_api.core.errors import Conflict, Forbidden, NotFound, PayloadTooLarge, Unavailable, Unprocessable
from po_api.core.errors import UnsupportedMediaType as _UnsupportedMediaType


class FileNotFound(NotFound):
    """The file does not exist, was deleted, or is not visible to the caller."""

    code = "file_not_found"
    title = "File not found"


class FileTooLarge(PayloadTooLarge):
    """A file has at most 20 MiB."""

    code = "file_too_large"
    title = "File too large"


class FileTypeRefused(_UnsupportedMediaType):
    """The content of the file, whatever its name, has to be PDF, PNG, JPEG, XLSX or DOCX without macros, an e-mail
    (EML), or a text (CSV, TXT)."""

    code = "file_type_refused"
    title = "File type not accepted"


class FileInfected(Unprocessable):
    """The virus scanner found something in the file. Nothing was stored."""

    code = "file_infected"
    title = "File infected"


class ScannerUnavailable(Unavailable):
    """The virus scanner cannot be reached, or did not finish. Nothing was stored; try again after `Retry-After`
    seconds."""

    code = "scanner_unavailable"
    title = "Virus scanner unavailable"


class TooManyFiles(Conflict):
    """A request, an order or a comment has at most 50 files: delete one first."""

    code = "too_many_files"
    title = "Too many files"


class SupplierFilesTooLarge(Conflict):
    """The files for the supplier of one order have at most 10 MiB together: they are sent in a mail."""

    code = "supplier_files_too_large"
    title = "Files for the supplier too large"


class FilesFrozen(Conflict):
    """The files for the supplier are fixed when an order is issued: none is added or deleted afterwards."""

    code = "files_frozen"
    title = "Files for the supplier are fixed"


class NotUploader(Forbidden):
    """A file is deleted by the member who has uploaded it, or by an administrator."""

    code = "not_uploader"
    title = "Not the uploader"
