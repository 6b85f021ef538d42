"""Responses: the problems and headers of every operation, and 304 where there is an ETag."""

from po_api.core.errors import AppError
from po_api.web.errors import MEDIA_TYPE
from po_api.web.openapi.declarations import FAMILIES, problems
from po_api.web.openapi.parts import (
    Json,
    header_references,
    is_public,
    operations,
    parameter_names,
    reference,
    referred,
)
from po_api.web.schemas import Problem

# The problems of every operation under /api/v1, besides its own; of those that need credentials; of those with a body.
_ALWAYS = (400, 422, 429, 500, 503)
_AUTHENTICATED = (401, 403)
_WITH_BODY = (413, 415)
SHARED_PROBLEMS = frozenset({*_ALWAYS, *_AUTHENTICATED, *_WITH_BODY})

_TEXT = {"type": "string"}
_HEADERS: Json = {
    "X-Request-ID": {
        "description": "The request id: the one that was sent, or a generated one; also in the log and in problems",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"},
    },
    "RateLimit-Policy": {
        "description": 'The rate limit applied to this request, for example `"user";q=100;w=60`',
        "schema": _TEXT,
    },
    "RateLimit": {
        "description": 'The remaining requests and the seconds until reset, for example `"user";r=99;t=60`',
        "schema": _TEXT,
    },
    "Retry-After": {
        "description": "Seconds to wait",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "Accepted authentication scheme", "required": True, "schema": _TEXT},
    "ETag": {
        "description": "The version of the representation: send it as `If-Match` to change the resource",
        "schema": _TEXT,
    },
    "Location": {"description": "URL of the new resource", "schema": {"type": "string", "format": "uri-reference"}},
    "Link": {"description": 'The next page, for example `</api/v1/porfs?cursor=…>; rel="next"`', "schema": _TEXT},
    "Idempotent-Replayed": {
        "description": "Present if this is the stored response to an earlier request with the same `Idempotency-Key`",
        "schema": {"type": "string", "const": "true"},
    },
    "Content-Disposition": {"description": "Attachment with the file name", "schema": _TEXT},
    "Set-Cookie": {"description": "Cookies of the sign-in or session, for this host only", "schema": _TEXT},
}
_EVERYWHERE = ("X-Request-ID",)
_COUNTED = (*_EVERYWHERE, "RateLimit-Policy", "RateLimit")
_OF_PROBLEMS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the cached version: the response is 304 without a body while it is current",
    "schema": _TEXT,
}


def complete_responses(spec: Json) -> None:
    """The problems that all operations have in common, and descriptions and headers of the others."""
    schemas = spec["components"]["schemas"]
    for path, _, operation in operations(spec):
        is_counted = path.startswith("/api/")
        responses = operation["responses"]
        if is_counted:
            responses.update(_common_problems(operation))
        for status, response in responses.items():
            if "$ref" in response:
                response.pop("description", None)
            else:
                _complete(response, int(status), operation, schemas, is_counted=is_counted)
        operation["responses"] = dict(sorted(responses.items()))


def _common_problems(operation: Json) -> Json:
    statuses = (
        *_ALWAYS,
        *(() if is_public(operation) else _AUTHENTICATED),
        *(_WITH_BODY if "requestBody" in operation else ()),
    )
    return {str(status): response for status, response in problems(*statuses).items()}


def _complete(response: Json, status: int, operation: Json, schemas: Json, *, is_counted: bool) -> None:
    """Its description and headers: those of all responses, and those that follow from its schema."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    shown = schemas[referred(schema)] if "$ref" in schema else {}
    if response["description"] == "Successful Response":
        response["description"] = shown.get("description", "Done")
    headers = [*(_COUNTED if is_counted else _EVERYWHERE), *response.get("headers", {})]
    fields = shown.get("properties", {})
    if "next_cursor" in fields:
        headers.append("Link")
    if "version" in fields:
        headers.append("ETag")
    if status == 201 and "ETag" in headers:
        headers.append("Location")
    if "Idempotency-Key" in parameter_names(operation):
        headers.append("Idempotent-Replayed")
    response["headers"] = header_references(*headers)


def add_not_modified(spec: Json) -> None:
    """A GET whose response has an ETag accepts If-None-Match and may return 304 (web/etags.py)."""
    for _, method, operation in operations(spec):
        responses = operation["responses"]
        if method == "get" and "ETag" in responses.get("200", {}).get("headers", {}):
            operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
            responses["304"] = {"description": "Not modified", "headers": header_references(*_COUNTED, "ETag")}
            operation["responses"] = dict(sorted(responses.items()))


def add_shared_responses(spec: Json) -> None:
    """The components that operations refer to: a response for each status of a problem, and all headers."""
    spec["components"]["responses"] = {family.__name__: _problem(family) for family in FAMILIES.values()}
    spec["components"]["headers"] = _HEADERS


def _problem(family: type[AppError]) -> Json:
    """The response of all problems with one status."""
    codes = ", ".join(f"`{error.code}`" for error in AppError.known() if error.status == family.status)
    example = Problem(
        type=f"/docs/errors/{family.code}",
        title=family.title,
        status=family.status,
        detail=family.title,
        instance="urn:request:6f1c2d",
        code=family.code,
        request_id="6f1c2d",
        errors=[],
    )
    return {
        "description": f"{family.title}: {codes}",
        "headers": header_references(*_COUNTED, *_OF_PROBLEMS.get(family.status, ())),
        "content": {MEDIA_TYPE: {"schema": reference("schemas", "Problem"), "example": example.model_dump()}},
    }
