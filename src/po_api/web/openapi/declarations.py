"""What routers declare for their operations besides what FastAPI derives: their `responses` and `openapi_extra`."""

from typing import Any

from po_api.core import errors
from po_api.web.errors import InternalError
from po_api.web.openapi.parts import header_references, reference

# The extension that names the scope which an API key needs for an operation.
KEY_SCOPE = "x-key-scope"

# One response component for each status of a problem.
FAMILIES = {
    family.status: family
    for family in (
        errors.BadRequest,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.Gone,
        errors.PreconditionFailed,
        errors.PayloadTooLarge,
        errors.UnsupportedMediaType,
        errors.Unprocessable,
        errors.PreconditionRequired,
        errors.TooManyRequests,
        InternalError,
        errors.Unavailable,
    )
}

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """The `responses` of an operation that can fail with these statuses, besides those of all operations."""
    return {status: reference("responses", FAMILIES[status].__name__) for status in statuses}


def binary(*media_types: str, has_etag: bool = False) -> Responses:
    """The `responses` of an operation that returns a file."""
    schema = {"type": "string", "format": "binary"}
    content = {media_type.partition(";")[0]: {"schema": schema} for media_type in media_types}
    headers = header_references("Content-Disposition", *(("ETag",) if has_etag else ()))
    return {200: {"description": "The file", "content": content, "headers": headers}}


def tagged(status: int = 200) -> Responses:
    """The `responses` of an operation that returns an ETag without a `version` in its body."""
    return {status: {"headers": header_references("ETag")}}


def redirect(description: str) -> Responses:
    """The `responses` of an operation that redirects a browser."""
    return {303: {"description": description, "headers": header_references("Location", "Set-Cookie")}}
