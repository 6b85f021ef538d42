"""What can go wrong with a key."""

from po_api.core.errors import NotFound


class ApiKeyNotFound(NotFound):
    """There is no such key, or none that is yours to see."""

    code = "api_key_not_found"
    title = "There is no such key"
