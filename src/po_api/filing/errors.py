"""Errors of filing."""

from po_api.core.errors import Conflict, NotFound, Unavailable


class FilingNotFound(NotFound):
    """There is no such filing in the organisation."""

    code = "filing_not_found"
    title = "Filing not found"


class FilingNotConfigured(Conflict):
    """This installation files no documents: its operator has to configure Google Drive or a directory."""

    code = "filing_not_configured"
    title = "Filing not configured"


class FolderMissing(Conflict):
    """The organisation has no `workspace_folder_id`: set it to the id of a folder in Google Drive."""

    code = "folder_missing"
    title = "No folder"


class FilingNotPossible(Conflict):
    """A document is filed already, or is about to be: only those that are held or have failed are tried again."""

    code = "filing_not_retryable"
    title = "Filing cannot be retried"


class FilingUnavailable(Unavailable):
    """Google Drive or the directory cannot be used now. `detail` names the problem; if it lasts, tell the operator."""

    code = "filing_unavailable"
    title = "Filing unavailable"
