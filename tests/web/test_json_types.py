"""JSON booleans and integers are taken as such only: "true", 1 and "1" are texts and numbers."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from fastapi import FastAPI

from support.operations import operations
from support.organisations import PREFIX, TestOrganisation

Json = dict[str, Any]
# Puts a value into a body.
Place = Callable[[object], object]
WRONG = {"boolean": (1, "true"), "integer": ("1", True)}


def _places(schemas: Json, schema: Json, place: Place, pointer: str = "") -> Iterator[tuple[str, str, Place]]:
    """The booleans and integers of a schema: type, pointer and place in a body."""
    if reference := schema.get("$ref"):
        schema = schemas[reference.rpartition("/")[2]]
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _places(schemas, choice, place, pointer)
    if (kind := schema.get("type")) in WRONG:
        yield kind, pointer, place
    if "items" in schema:
        yield from _places(schemas, schema["items"], lambda value: place([value]), f"{pointer}/0")
    fields = schema.get("properties", {})
    # What tells the kinds of an object apart.
    fixed = {name: field["const"] for name, field in fields.items() if "const" in field}

    def place_in_field(name: str, value: object) -> object:
        return place({**fixed, name: value})

    for name, field in fields.items():
        yield from _places(schemas, field, partial(place_in_field, name), f"{pointer}/{name}")


async def test_other_types_are_refused_in_every_body(app: FastAPI, organisation: TestOrganisation) -> None:
    schemas = app.openapi()["components"]["schemas"]
    tried, accepted = 0, []
    for method, path, operation in operations(app):
        url = re.sub(r"\{\w+\}", "1", path.removeprefix(PREFIX))
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if "json" not in media_type:
                continue
            for kind, pointer, place in _places(schemas, content["schema"], lambda value: value):
                for wrong in WRONG[kind]:
                    answer = await organisation.admin.request(method, url, json=place(wrong), etag="*")
                    tried += 1
                    found = {error["pointer"]: error["code"] for error in answer.json().get("errors", ())}
                    if answer.status_code != 422 or not found.get(pointer, "").endswith("_type"):
                        accepted.append((method, path, pointer, wrong, answer.text))
    assert accepted == [], "\n".join(map(str, accepted))
    assert tried > 150
