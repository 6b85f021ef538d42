"""The OpenAPI document: what FastAPI derives, made exact for generators and linters (api.md)."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from po_api.web.errors import MEDIA_TYPE
from po_api.web.schemas import Problem

Json = dict[str, Any]

_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
# What every operation under /api/v1 can answer besides its own problems; those with a body two more.
_ALWAYS = (400, 401, 422, 429, 500, 503)
_WITH_BODY = (413, 415)

TAGS = {
    "sessions": "The caller's own sign-ins",
    "users": "The members of the caller's organisation",
    "organisations": "Tenants and their rules",
    "suppliers": "Whom one orders from",
    "porfs": "Purchase order request forms: raised, approved, ordered",
    "purchase orders": "Orders with a number and a document",
    "state machines": "The tables that guard the actions",
    "health": "For load balancers and operators",
}

DESCRIPTION = """
From a purchase order request (PORF) to an issued purchase order.

Amounts are decimal strings. Changes and actions take the `ETag` of what was read as `If-Match`; every POST takes an
`Idempotency-Key`, which makes its repetition harmless. Errors are problems of RFC 9457 with a stable `code`; each
code is explained at its `type`. A representation's `allowed_actions` says what the caller may do now, and why not.
"""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that answers with these problems, besides those that all operations have."""
    return {status: _problem(status) for status in statuses}


def binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that answers with a file."""
    schema = {"type": "string", "format": "binary"}
    content = {media_type.partition(";")[0]: {"schema": schema} for media_type in media_types}
    return {200: {"description": "The file", "content": content}}


def _problem(status: int) -> Json:
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: _PROBLEM}}


def document(app: FastAPI) -> Json:
    """The OpenAPI 3.1 document of the application, made once."""
    if app.openapi_schema is None:
        spec = get_openapi(
            title=app.title,
            version=app.version,
            description=DESCRIPTION.strip(),
            routes=app.routes,
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
    schemas = spec["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schemas["Problem"].pop("$defs"))
    for path, method, operation in _operations(spec):
        operation["parameters"] = [_parameter(item) for item in operation.get("parameters", [])]
        operation.setdefault("description", f"{operation['summary']}.")
        if path.startswith("/api/"):
            _add_problems(operation)
        body = operation.get("requestBody", {}).get("content", {})
        if method == "patch" and "application/json" in body:
            body["application/merge-patch+json"] = body["application/json"]
        for content in (body, *(response.get("content", {}) for response in operation["responses"].values())):
            _add_examples(content, schemas)


def _operations(spec: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _add_problems(operation: Json) -> None:
    responses = operation["responses"]
    statuses = (*_ALWAYS, *(_WITH_BODY if "requestBody" in operation else ()))
    responses.update({str(status): _problem(status) for status in statuses})
    operation["responses"] = dict(sorted(responses.items()))


def _parameter(parameter: Json) -> Json:
    """An optional parameter is left out, never null; If-Match is required although its absence has its own status."""
    schema = parameter["schema"]
    options = [option for option in schema.pop("anyOf", []) if option != {"type": "null"}]
    if options:
        schema.update(options[0])
    if parameter["name"] == "If-Match":
        parameter["required"] = True
    examples = schema.pop("examples", None)
    if examples:
        parameter["example"] = examples[0]
    parameter.setdefault("description", parameter["name"].replace("_", " "))
    return parameter


def _add_examples(content: Json, schemas: Json) -> None:
    for media_type, part in content.items():
        if "json" in media_type and "schema" in part:
            part.setdefault("example", _example(part["schema"], schemas))


def _example(schema: Json, schemas: Json) -> Any:
    """An example made of the fields' own ones."""
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "const" in schema or "default" in schema:
        return schema.get("const", schema.get("default"))
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], schemas)
    if "allOf" in schema:
        return _example(schema["allOf"][0], schemas)
    match schema.get("type"):
        case "object":
            return {name: _example(field, schemas) for name, field in schema.get("properties", {}).items()}
        case "array":
            return [_example(schema["items"], schemas)] if "items" in schema else []
        case "integer":
            return 1
        case "boolean":
            return True
        case "null" | None:
            return None
    return {"date": "2026-11-30", "date-time": "2026-11-22T10:00:00Z"}.get(schema.get("format", ""), "text")
