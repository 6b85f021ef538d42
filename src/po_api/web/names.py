"""Names of fields and parameters that an operation does not have: the answer lists those that it has.

These are public. The caller's own text is never repeated: it may be a value in the wrong place.
"""

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

# Comparing names takes time: further ones, and long ones, are not compared.
MAX_EXPLAINED = 20
_MAX_COMPARED_LENGTH = 64


class Explanations:
    """The texts for the unknown names of one request; the first twenty list the allowed names."""

    def __init__(self) -> None:
        self._count = 0

    def of(self, kind: str, name: str, find_allowed: Callable[[], Collection[str]]) -> str:
        """Such as "unknown field; did you mean currency? Allowed: title, currency"."""
        self._count += 1
        allowed = find_allowed() if self._count <= MAX_EXPLAINED else ()
        if not allowed:
            return f"unknown {kind}"
        near = nearest(name, allowed)
        suggestion = f"; did you mean {near}?" if near is not None else "."
        return f"unknown {kind}{suggestion} Allowed: {', '.join(allowed)}"


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that is most similar, regardless of case, hyphens and underscores; None if none is similar."""
    plain = {_plain(other): other for other in allowed}
    found = difflib.get_close_matches(_plain(name[:_MAX_COMPARED_LENGTH]), plain, n=1)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def fields_at(annotation: Any, path: Sequence[str | int]) -> list[str]:
    """The names of the fields that a body of this type has at `path`; the names in `path` must be fields, too."""
    models = list(_models(annotation))
    for part in path:
        inner = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        # Positions in lists, and the tags of unions in Pydantic's locations, lead to the same models.
        if inner:
            models = [model for each in inner for model in _models(each)]
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def without_tags(annotation: Any, path: Sequence[str | int]) -> list[str | int]:
    """`path` without the tags of unions, which Pydantic's locations have and the body has not."""
    models = list(_models(annotation))
    kept: list[str | int] = []
    for part in path:
        if any(part in _tags(model) for model in models) and not any(part in model.model_fields for model in models):
            continue
        kept.append(part)
        inner = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        if inner:
            models = [model for each in inner for model in _models(each)]
    return kept


def _tags(model: type[BaseModel]) -> set[object]:
    """The values of the fields that have a fixed value: one of them is the tag of the model in a union."""
    annotations = (field.annotation for field in model.model_fields.values())
    return {value for each in annotations if get_origin(each) is Literal for value in get_args(each)}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `list[LineCreate] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
