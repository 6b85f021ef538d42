"""Schemas: without redundant titles, with exact bounds; those of responses are open to further fields."""

from typing import Any

from po_api.web.openapi.parts import Json, operations
from po_api.web.schemas import MAX_ID, FieldProblem, Problem


def drop_validation_errors(spec: Json) -> None:
    """FastAPI's own errors are not used: all errors are problems."""
    for name in ("HTTPValidationError", "ValidationError"):
        spec["components"]["schemas"].pop(name, None)


def tidy_schemas(spec: Json) -> None:
    for schema in spec["components"]["schemas"].values():
        _tidy(schema)


def _tidy(schema: Json) -> None:
    """No titles that only repeat the property's name; bounds of integers are integers, files are binary."""
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
        if field.pop("contentMediaType", None):
            field["format"] = "binary"
        alternatives = (field, *field.get("anyOf", []))
        for part in (*alternatives, *(each.get("items", {}) for each in alternatives)):
            if part.get("type") == "integer":
                # FastAPI reads bounds as floats, which cannot hold the largest id.
                part.update({bound: min(int(part[bound]), MAX_ID) for bound in ("minimum", "maximum") if bound in part})


def add_problem_schemas(spec: Json) -> None:
    """FastAPI cannot derive them: problems are the responses of error handlers."""
    schemas = spec["components"]["schemas"]
    for model in (FieldProblem, Problem):
        schemas[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
        _tidy(schemas[model.__name__])
    schemas["Problem"].pop("$defs")


def open_response_schemas(spec: Json) -> None:
    """Unknown fields are refused in requests; responses may get further fields within a version of the API."""
    schemas = spec["components"]["schemas"]
    in_requests: set[str] = set()
    remaining = [operation.get("requestBody", {}) for _, _, operation in operations(spec)]
    while remaining:
        names = _references(remaining.pop()) - in_requests
        in_requests |= names
        remaining.extend(schemas[name] for name in names)
    for name, schema in schemas.items():
        if name not in in_requests and schema.get("additionalProperties") is False:
            del schema["additionalProperties"]


def _references(part: Any) -> set[str]:
    """The names of the schemas that `part` refers to."""
    if isinstance(part, list):
        return set().union(*map(_references, part))
    if not isinstance(part, dict):
        return set()
    ref = part.get("$ref", "")
    own = {ref.rpartition("/")[2]} if ref.startswith("#/components/schemas/") else set()
    return own.union(*map(_references, part.values()))
