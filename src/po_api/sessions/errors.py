"""What can go wrong with a session."""

from po_api.core.errors import NotFound


class SessionNotFound(NotFound):
    """You have no such session."""

    code = "session_not_found"
    title = "There is no such session"
