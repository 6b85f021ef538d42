"""Records: dataclasses and named tuples, as named fields that can be copied from one kind to another."""

from typing import TypeVar

T = TypeVar("T")


def field_names(kind: type[object]) -> tuple[str, ...]:
    """The fields of a dataclass or named tuple, in the order in which its constructor takes them."""
    names: tuple[str, ...] = kind.__match_args__  # type: ignore[attr-defined]
    return names


def extract(kind: type[T], source: object, **others: object) -> T:
    """A `kind` with `others`, and with the attributes of `source` for all of its fields that are not among them."""
    copied = {name: getattr(source, name) for name in field_names(kind) if name not in others}
    return kind(**copied, **others)
