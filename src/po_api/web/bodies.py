"""Bodies in which every field appears once.

JSON and form parsers use the last of several values with one name: two programs that read the same request, such as a
filter and the API, could take different ones.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from po_api.core.errors import FieldError, Unprocessable
from po_api.core.offload import offload_file
from po_api.web.names import fields_at

MAX_LISTED = 20
# In characters: finding the places in a larger body would take too long.
MAX_LOCATED = 2 * 1024 * 1024
_MAX_DEPTH = 16
# In bytes; parsing and validating them takes a few milliseconds.
MAX_ON_THE_LOOP = 32 * 1024
_INVALID = object()
_Path = tuple[str | int, ...]


class _Repeated(Exception):
    """A name appears twice in an object."""


class JsonRequest(Request):
    """A request whose JSON body has no name twice in an object; `annotation` is the type of the body."""

    def __init__(self, request: Request, annotation: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._annotation = annotation
        self._parsed: tuple[Any] | None = None
        self._errors: list[dict[str, Any]] | None = None

    async def json(self) -> Any:
        """The body. Raises ValueError if it is not JSON, and Unprocessable for a name that appears twice.

        A large one is validated as well, outside of the event loop: FastAPI takes an instance of the model as it is.
        If it is not valid, the result is an object that no model accepts, and `errors_of` has the errors.
        """
        if self._parsed is None:
            body = await self.body()
            if len(body) <= MAX_ON_THE_LOOP:
                self._parsed = (parse_json(body, self._annotation),)
            else:
                self._parsed = (await offload_file(self._validated, body),)
        return self._parsed[0]

    def _validated(self, body: bytes) -> Any:
        value = parse_json(body, self._annotation)
        if not (isinstance(self._annotation, type) and issubclass(self._annotation, BaseModel)):
            return value
        try:
            return self._annotation.model_validate(value)
        except ValidationError as error:
            listed = error.errors(include_url=False)
            self._errors = [{**item, "loc": ("body", *item["loc"])} for item in listed]
            return _INVALID

    def errors_of(self, error: RequestValidationError) -> Sequence[Any]:
        """The errors of a request that FastAPI has refused, those of a large body included."""
        found = error.errors()
        if self._errors is None:
            return found
        return [*(item for item in found if item["loc"][:1] != ("body",)), *self._errors]


def parse_json(body: bytes, annotation: Any) -> Any:
    """The value, whose type is to be `annotation`. Raises as `JsonRequest.json` does."""
    text = body.decode(json.detect_encoding(body), "surrogatepass").removeprefix("\ufeff")
    try:
        return _STRICT.decode(text)
    except _Repeated:
        errors = tuple(_repetitions(text, annotation)) if len(text) <= MAX_LOCATED else (_error(()),)
        raise Unprocessable(errors=errors) from None


def require_distinct(names: Iterable[str], annotation: Any) -> None:
    """Raise Unprocessable for the fields of a form that appear twice; unknown ones are refused elsewhere."""
    allowed = fields_at(annotation, ())
    repeated = [name for name, count in Counter(names).items() if count > 1 and name in allowed]
    if repeated:
        raise Unprocessable(errors=tuple(_error((name,)) for name in repeated))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated
    return found


_STRICT = json.JSONDecoder(object_pairs_hook=_unique)


def _repetitions(text: str, annotation: Any) -> Iterator[FieldError]:
    """The repeated names, read once more: a decoder does not know the place of an object."""
    repeated: dict[int, list[str]] = {}
    kept: list[dict[str, Any]] = []  # so that no other object gets the id of one of these

    def remember(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            repeated[id(found)] = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
            kept.append(found)
        return found

    value = json.JSONDecoder(object_pairs_hook=remember).decode(text)
    found = (_error((*path, name), annotation) for path, item in _objects(value) for name in repeated.get(id(item), ()))
    yield from itertools.islice(found, MAX_LISTED)


def _objects(value: Any) -> Iterator[tuple[_Path, dict[str, Any]]]:
    """The objects in a value with their paths. Not recursive: JSON may be nested as deeply as the parser permits."""
    levels: list[Iterator[tuple[_Path, Any]]] = [iter([((), value)])]
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
            continue
        path, item = found
        if isinstance(item, dict):
            yield path, item
            levels.append(_below(path, item.items()))
        elif isinstance(item, list):
            levels.append(_below(path, enumerate(item)))


def _below(path: _Path, items: Iterable[tuple[str | int, Any]]) -> Iterator[tuple[_Path, Any]]:
    """The items with their paths; no field of a body is as deep as the longest path."""
    return (((*path, key) if len(path) < _MAX_DEPTH else path, item) for key, item in items)


def _error(path: _Path, annotation: Any = None) -> FieldError:
    """The pointer ends before the first name that is not a field: it would repeat the caller's text."""
    known: list[str | int] = []
    for part in path:
        if annotation is not None and isinstance(part, str) and part not in fields_at(annotation, known):
            break
        known.append(part)
    return FieldError("".join(f"/{part}" for part in known), "duplicate_field", "appears more than once")
