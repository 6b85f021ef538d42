"""Each pass over FastAPI's document is still needed: before it, the document has the defect that it fixes."""

from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from fastapi import FastAPI

from po_api.web.cookies import access_cookie
from po_api.web.openapi import bodies, examples, parameters, responses, schemas, security, sent, texts
from po_api.web.openapi.document import PASSES, Pass, completed
from po_api.web.openapi.parts import Json, is_public, operations

Find = Callable[[Json], Iterator[str]]


def _parts(part: Any, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every object inside `part`, with its path."""
    if isinstance(part, dict):
        yield path, part
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in inner:
        yield from _parts(value, f"{path}/{key}")


def _parameters(spec: Json) -> Iterator[tuple[str, Json]]:
    shared = spec["components"].get("parameters", {})
    yield from shared.items()
    for path, _, operation in operations(spec):
        for parameter in operation.get("parameters", []):
            if "$ref" not in parameter:
                yield path, parameter


def _fields(spec: Json) -> Iterator[tuple[str, Json]]:
    for name, schema in spec["components"]["schemas"].items():
        for key, field in schema.get("properties", {}).items():
            yield f"{name}.{key}", field


def _bodies(spec: Json) -> Iterator[tuple[str, Json]]:
    for path, method, operation in operations(spec):
        for media_type, part in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{method} {path} {media_type}", part


def no_cookie(spec: Json) -> Iterator[str]:
    yield from {access_cookie.scheme_name} - spec["components"]["securitySchemes"].keys()


def no_default_security(spec: Json) -> Iterator[str]:
    yield from {"security"} - spec.keys()


def fastapis_errors(spec: Json) -> Iterator[str]:
    yield from {"HTTPValidationError", "ValidationError"} & spec["components"]["schemas"].keys()


def repeated_titles(spec: Json) -> Iterator[str]:
    yield from (place for place, field in _fields(spec) if "title" in field)


def files_that_are_not_binary(spec: Json) -> Iterator[str]:
    yield from (place for place, field in _fields(spec) if "contentMediaType" in field)


def inexact_bounds(spec: Json) -> Iterator[str]:
    for place, part in _parts(spec["components"]["schemas"]):
        if part.get("type") == "integer" and {float} & {type(part.get(bound)) for bound in ("minimum", "maximum")}:
            yield place


def nullable_parameters(spec: Json) -> Iterator[str]:
    yield from (place for place, it in _parameters(spec) if {"type": "null"} in it["schema"].get("anyOf", []))


def noise_in_parameters(spec: Json) -> Iterator[str]:
    for place, it in _parameters(spec):
        if {"title", "description"} & it["schema"].keys() or it["schema"].get("default") == []:
            yield place


def optional_if_match(spec: Json) -> Iterator[str]:
    yield from (place for place, it in _parameters(spec) if it["name"] == "If-Match" and not it["required"])


def parameters_without_description(spec: Json) -> Iterator[str]:
    yield from (place for place, it in _parameters(spec) if not it.get("description"))


def missing_problems(spec: Json) -> Iterator[str]:
    for path, _, operation in operations(spec):
        if path.startswith("/api/") and not {"400", "422", "429", "500", "503"} <= operation["responses"].keys():
            yield path


def missing_headers(spec: Json) -> Iterator[str]:
    for path, _, operation in operations(spec):
        for response in operation["responses"].values():
            if "$ref" not in response and "X-Request-ID" not in response.get("headers", {}):
                yield path


def fastapis_descriptions(spec: Json) -> Iterator[str]:
    for place, part in _parts(spec["paths"]):
        if part.get("description") == "Successful Response":
            yield place


def etags_without_304(spec: Json) -> Iterator[str]:
    for path, method, operation in operations(spec):
        found = operation["responses"]
        if method == "get" and "ETag" in found.get("200", {}).get("headers", {}) and "304" not in found:
            yield path


def defaults_beside_references(spec: Json) -> Iterator[str]:
    yield from (place for place, part in _bodies(spec) if "default" in part["schema"])


def patches_of_json(spec: Json) -> Iterator[str]:
    yield from (place for place, _ in _bodies(spec) if place.startswith("patch") and place.endswith("application/json"))


def operations_without_conventions(spec: Json) -> Iterator[str]:
    for path, _, operation in operations(spec):
        names = [it.get("name") or it["$ref"] for it in operation.get("parameters", [])]
        if any("Match" in name for name in names) and "Match`" not in operation.get("description", ""):
            yield path


def public_operations_that_seem_not_to_be(spec: Json) -> Iterator[str]:
    """Operations without `security` have the default."""
    for path, _, operation in operations(spec):
        if path.startswith("/health") and is_public(operation):
            yield path


def bodies_without_examples(spec: Json) -> Iterator[str]:
    for place, part in _bodies(spec):
        if "json" in place and "examples" not in part:
            yield place


def _missing(spec: Json, kind: str) -> Iterator[str]:
    there = spec["components"].get(kind, {})
    for _, part in _parts(spec):
        found, name = str(part.get("$ref", "//")).split("/")[-2:]
        if found == kind and name not in there:
            yield name


def missing_schemas(spec: Json) -> Iterator[str]:
    return _missing(spec, "schemas")


def missing_responses(spec: Json) -> Iterator[str]:
    return _missing(spec, "responses")


def missing_shared_headers(spec: Json) -> Iterator[str]:
    return _missing(spec, "headers")


def closed_responses(spec: Json) -> Iterator[str]:
    for name, schema in spec["components"]["schemas"].items():
        if name.endswith("Read") and schema.get("additionalProperties") is False:
            yield name


def repeated_parameters(spec: Json) -> Iterator[str]:
    inline = Counter(repr(it) for _, _, operation in operations(spec) for it in operation.get("parameters", []))
    yield from (it for it, times in inline.items() if times > 1 and "$ref" not in it)


def webhooks_that_answer_as_the_api_does(spec: Json) -> Iterator[str]:
    for name, methods in spec["webhooks"].items():
        if "422" in methods["post"]["responses"] or "security" not in methods["post"]:
            yield name


MENDED: list[tuple[Pass, Find]] = [
    (security.add_cookie_scheme, no_cookie),
    (security.add_cookie_scheme, no_default_security),
    (schemas.drop_validation_errors, fastapis_errors),
    (schemas.tidy_schemas, repeated_titles),
    (schemas.tidy_schemas, files_that_are_not_binary),
    (schemas.tidy_schemas, inexact_bounds),
    (parameters.complete_parameters, nullable_parameters),
    (parameters.complete_parameters, noise_in_parameters),
    (parameters.complete_parameters, optional_if_match),
    (parameters.complete_parameters, parameters_without_description),
    (responses.complete_responses, missing_problems),
    (responses.complete_responses, missing_headers),
    (responses.complete_responses, fastapis_descriptions),
    (responses.add_not_modified, etags_without_304),
    (bodies.complete_bodies, defaults_beside_references),
    (bodies.complete_bodies, patches_of_json),
    (texts.describe_operations, operations_without_conventions),
    (security.state_security, public_operations_that_seem_not_to_be),
    (examples.add_examples, bodies_without_examples),
    (schemas.add_problem_schemas, missing_schemas),
    (schemas.open_response_schemas, closed_responses),
    (responses.add_shared_responses, missing_responses),
    (responses.add_shared_responses, missing_shared_headers),
    (parameters.share_parameters, repeated_parameters),
    (sent.complete_webhooks, webhooks_that_answer_as_the_api_does),
]


def test_every_pass_mends_something() -> None:
    assert {mending for mending, _ in MENDED} == set(PASSES)


@pytest.fixture(scope="module")
def stages(app: FastAPI) -> list[Json]:
    """The document before the first pass, and after each one."""
    spec = completed(app, ())
    made = [deepcopy(spec)]
    for mend in PASSES:
        mend(spec)
        made.append(deepcopy(spec))
    return made


@pytest.mark.parametrize(("mending", "find"), MENDED, ids=lambda each: each.__name__)
def test_the_document_has_a_defect_before_the_pass(stages: list[Json], mending: Pass, find: Find) -> None:
    position = PASSES.index(mending)
    assert set(find(stages[position + 1])) < set(find(stages[position]))
