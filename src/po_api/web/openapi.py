"""The OpenAPI document: what FastAPI derives, made exact for generators and linters (api.md)."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from po_api.core import errors
from po_api.core.errors import AppError
from po_api.web.cookies import access_cookie
from po_api.web.errors import MEDIA_TYPE, InternalError
from po_api.web.openapi_examples import Examples
from po_api.web.schemas import MAX_ID, FieldProblem, Problem

Json = dict[str, Any]

# The extension that names the scope which an API key needs for an operation.
KEY_SCOPE = "x-key-scope"

# One response component for each status of a problem.
_FAMILIES = {
    family.status: family
    for family in (
        errors.BadRequest,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
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
# What every operation under /api/v1 can answer besides its own problems; those for which one has to be signed in, and
# those with a body, two more.
_ALWAYS = (400, 422, 429, 500, 503)
_SIGNED_IN = (401, 403)
_WITH_BODY = (413, 415)

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

TAGS = {
    "sessions": "Sign-in, and the caller's own sessions",
    "API keys": "Keys with which scripts act as a user",
    "users": "Members of the caller's organisation",
    "organisations": "Organisations (tenants) and their settings",
    "suppliers": "Suppliers of the organisation",
    "porfs": "Purchase order requests (PORFs): create, approve, convert",
    "purchase orders": "Purchase orders, their numbers and documents",
    "state machines": "Transition tables of requests and orders",
    "health": "Liveness and readiness",
}

DESCRIPTION = """
From a purchase order request (PORF) to an issued purchase order.

Send the access token of a session (see `sessions`) or an API key as `Authorization: Bearer …`. Amounts are decimal
strings. Updates and actions require `If-Match` with the `ETag` of the version that was read. Every POST accepts an
`Idempotency-Key`, which makes it safe to repeat, except those whose response contains a secret. Errors are RFC 9457
problems with a stable `code`, documented at the problem's `type`. `allowed_actions` lists the actions of a resource,
whether the caller may perform each now and, if not, the reason code.
"""

_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the cached version: the response is 304 without a body while it is current",
    "schema": _TEXT,
}
# What a description says besides the summary, by a parameter that the operation takes.
_CONVENTIONS = {
    "If-Match": "Requires the ETag that was read as `If-Match`: 428 if it is missing, 412 if it is outdated.",
    "Idempotency-Key": "A repetition with the same `Idempotency-Key` changes nothing and returns the stored response.",
    "dry_run": "With `dry_run=true` the result is returned and nothing is changed.",
    "cursor": "Follow `next_cursor` or the `Link` header until `has_more` is false.",
    "If-None-Match": "Returns 304 while the ETag in `If-None-Match` is current.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that answers with these problems, besides those that all operations have."""
    return {status: _reference("responses", _FAMILIES[status].__name__) for status in statuses}


def binary(*media_types: str, has_etag: bool = False) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that answers with a file."""
    schema = {"type": "string", "format": "binary"}
    content = {media_type.partition(";")[0]: {"schema": schema} for media_type in media_types}
    headers = _headers("Content-Disposition", *(("ETag",) if has_etag else ()))
    return {200: {"description": "The file", "content": content, "headers": headers}}


def tagged(status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation whose answer has an ETag without showing a `version`."""
    return {status: {"headers": _headers("ETag")}}


def redirect(description: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that a browser navigates to, and is sent on by."""
    return {303: {"description": description, "headers": _headers("Location", "Set-Cookie")}}


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _headers(*names: str) -> Json:
    return {name: _reference("headers", name) for name in names}


def all_routes(app: FastAPI) -> list[BaseRoute]:
    """The application's routes, those that are grouped (web/routing.py) one by one."""
    return [route for entry in app.routes for route in getattr(entry, "routes", None) or (entry,)]


def document(app: FastAPI) -> Json:
    """The OpenAPI 3.1 document of the application, made once."""
    if app.openapi_schema is None:
        spec = get_openapi(
            title=app.title,
            version=app.version,
            description=DESCRIPTION.strip(),
            routes=all_routes(app),
            contact={"name": "The po-api maintainers", "url": "https://po-api.example"},
            license_info={"name": "MIT", "identifier": "MIT"},
            servers=[{"url": "/", "description": "This server"}],
            tags=[{"name": name, "description": text} for name, text in TAGS.items()],
            separate_input_output_schemas=False,
        )
        _complete(spec)
        app.openapi_schema = spec
    return app.openapi_schema


def _complete(spec: Json) -> None:
    components = spec["components"]
    components["securitySchemes"][access_cookie.scheme_name] = jsonable_encoder(
        access_cookie.model, by_alias=True, exclude_none=True
    )
    spec["security"] = [{name: []} for name in components["securitySchemes"]]
    schemas = components["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _name_form_bodies(spec)
    for schema in schemas.values():
        _tidy_schema(schema)
    examples = Examples(schemas)
    for model in (FieldProblem, Problem):
        schemas[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
        _tidy_schema(schemas[model.__name__])
    schemas["Problem"].pop("$defs")
    for path, method, operation in _operations(spec):
        is_counted = path.startswith("/api/")
        is_public = "security" not in operation
        _complete_parameters(operation)
        _complete_responses(operation, method, schemas, is_counted=is_counted, is_public=is_public)
        _complete_body(operation, method)
        _describe(operation, is_public=is_public)
        if is_public:
            operation["security"] = []
        else:
            del operation["security"]
        examples.add_to(operation)
    _accept_additions(spec)
    components["responses"] = {family.__name__: _problem(family) for family in _FAMILIES.values()}
    components["headers"] = _HEADERS
    components["examples"] = dict(sorted(examples.used.items()))
    components["parameters"] = _share_parameters(spec)
    components["schemas"] = dict(sorted(schemas.items()))


def _operations(spec: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _name_form_bodies(spec: Json) -> None:
    """`ImportPorfBody` for FastAPI's `Body_importPorf`; a form leaves its optional fields out, it has no null."""
    schemas = spec["components"]["schemas"]
    for _, _, operation in _operations(spec):
        for part in operation.get("requestBody", {}).get("content", {}).values():
            found = part["schema"]["$ref"].rpartition("/")[2]
            if found.startswith("Body_"):
                operation_id = operation["operationId"]
                name = f"{operation_id[0].upper()}{operation_id[1:]}Body"
                form = schemas.pop(found)
                form["title"] = name
                form["properties"] = {key: _without_null(field) for key, field in form["properties"].items()}
                schemas[name] = form
                part["schema"] = _reference("schemas", name)


def _tidy_schema(schema: Json) -> None:
    """Leave out titles that only repeat the property's name; bounds of integers are integers, files are binary."""
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
        if field.pop("contentMediaType", None):
            field["format"] = "binary"
        for part in (field, field.get("items", {}), *field.get("anyOf", [])):
            if part.get("type") == "integer":
                # FastAPI reads bounds as floats, which cannot hold the largest id.
                part.update({bound: min(int(part[bound]), MAX_ID) for bound in ("minimum", "maximum") if bound in part})


def _complete_parameters(operation: Json) -> None:
    parameters = [_parameter(item) for item in operation.pop("parameters", [])]
    if parameters:
        operation["parameters"] = parameters


def _parameter(parameter: Json) -> Json:
    """An optional parameter is left out, never null; If-Match is required although its absence has its own status.

    The examples of optional ones stay in the schema: those of the parameter are what the docs page sends.
    """
    schema = _without_null(parameter["schema"])
    for name in ("title", "description"):
        schema.pop(name, None)
    if schema.get("default") == []:
        del schema["default"]
    if parameter["name"] == "If-Match":
        parameter["required"] = True
        parameter["example"] = schema.pop("examples")[0]
    parameter["schema"] = schema
    parameter.setdefault("description", _meaning(parameter["name"]))
    return parameter


def _without_null(schema: Json) -> Json:
    """`schema` without the null that only says that a parameter or a form's field is optional."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **options[0]}


def _share_parameters(spec: Json) -> Json:
    """Refer to the parameters that several operations take in the same way; returns their components."""
    operations = [operation for _, _, operation in _operations(spec) if "parameters" in operation]
    seen = Counter(repr(parameter) for operation in operations for parameter in operation["parameters"])
    shared: Json = {}

    def share(parameter: Json) -> Json:
        key = "".join(part.capitalize() for part in re.split("[-_]", parameter["name"]))
        if seen[repr(parameter)] == 1 or shared.setdefault(key, parameter) != parameter:
            return parameter
        return _reference("parameters", key)

    for operation in operations:
        operation["parameters"] = [share(parameter) for parameter in operation["parameters"]]
    return dict(sorted(shared.items()))


def _meaning(name: str) -> str:
    for suffix, meaning in {"_gte": "Lower bound, inclusive", "_lt": "Upper bound, exclusive", "_id": "Id"}.items():
        if name.endswith(suffix):
            return meaning
    return name.replace("_", " ").capitalize()


def _complete_responses(operation: Json, method: str, schemas: Json, *, is_counted: bool, is_public: bool) -> None:
    responses = operation["responses"]
    if is_counted:
        statuses = (*_ALWAYS, *(() if is_public else _SIGNED_IN), *(_WITH_BODY if "requestBody" in operation else ()))
        responses.update({str(status): answer for status, answer in problems(*statuses).items()})
    for status, response in responses.items():
        if "$ref" in response:
            response.pop("description", None)
        else:
            _complete_answer(response, int(status), operation, schemas, is_counted=is_counted)
    if method == "get" and "ETag" in responses.get("200", {}).get("headers", {}):
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
        headers = _headers(*_COUNTED, "ETag")
        responses["304"] = {"description": "Not modified", "headers": headers}
    operation["responses"] = dict(sorted(responses.items()))


def _complete_answer(response: Json, status: int, operation: Json, schemas: Json, *, is_counted: bool) -> None:
    """Its description and headers: those that all answers have, and those that follow from what it shows."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    shown = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
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
    if "Idempotency-Key" in _names(operation):
        headers.append("Idempotent-Replayed")
    response["headers"] = _headers(*headers)


def _names(operation: Json) -> list[str]:
    return [parameter["name"] for parameter in operation.get("parameters", [])]


def _complete_body(operation: Json, method: str) -> None:
    content = operation.get("requestBody", {}).get("content", {})
    for part in content.values():
        part["schema"].pop("default", None)
    if method == "patch":
        # `application/json` is taken too (api.md); with both in the document, a generated client is given a choice that
        # makes no difference, and some generators stumble over it.
        content["application/merge-patch+json"] = content.pop("application/json")


def _describe(operation: Json, *, is_public: bool) -> None:
    conventions = [text for name, text in _CONVENTIONS.items() if name in _names(operation)]
    if not is_public:
        scope = operation.get(KEY_SCOPE)
        conventions.append(f"API keys require the scope `{scope}`." if scope else "Does not accept API keys.")
    said = operation.get("description") or f"{operation['summary'].rstrip('.?')}."
    operation["description"] = " ".join([said, *conventions])


def _problem(family: type[AppError]) -> Json:
    """The response that all operations with this status share."""
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
        "headers": _headers(*_COUNTED, *_OF_PROBLEMS.get(family.status, ())),
        "content": {MEDIA_TYPE: {"schema": _reference("schemas", "Problem"), "example": example.model_dump()}},
    }


def _accept_additions(spec: Json) -> None:
    """Unknown fields are refused in what is sent; what is answered may get more of them within a version."""
    schemas = spec["components"]["schemas"]
    sent: set[str] = set()
    waiting = [operation.get("requestBody", {}) for _, _, operation in _operations(spec)]
    while waiting:
        names = _references(waiting.pop()) - sent
        sent |= names
        waiting.extend(schemas[name] for name in names)
    for name, schema in schemas.items():
        if name not in sent and schema.get("additionalProperties") is False:
            del schema["additionalProperties"]


def _references(part: Any) -> set[str]:
    """The names of the schemas that `part` refers to."""
    if isinstance(part, list):
        return set().union(*map(_references, part))
    if not isinstance(part, dict):
        return set()
    reference = part.get("$ref", "")
    own = {reference.rpartition("/")[2]} if reference.startswith("#/components/schemas/") else set()
    return own.union(*map(_references, part.values()))
