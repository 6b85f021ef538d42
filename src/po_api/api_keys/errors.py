"""Errors of API keys."""

from po_api.core.errors import NotFound


class ApiKeyNotFound(NotFound):
    """The API key does not exist, or is not visible to the caller."""

    code = "api_key_not_found"
    title = "API key not found"
