"""Records: dataclasses and named tuples, as named fields that can be copied from one kind to another."""

from typing import Protocol, TypeVar


class Record(Protocol):
    """A dataclass or a named tuple."""

    @property
    def __match_args__(self) -> tuple[str, ...]: ...


T = TypeVar("T", bound=Record)


def field_names(kind: type[Record]) -> tuple[str, ...]:
    """The fields of a record in the order in which its constructor takes them."""
    # The type checker sees the property of the protocol; at run time it is an attribute of the class.
    names: tuple[str, ...] = vars(kind)["__match_args__"]
    return names


def extract(kind: type[T], source: object, **others: object) -> T:
    """A `kind` whose fields are taken from `others` or, for those not given, from the attributes of `source`."""
    copied = {name: getattr(source, name) for name in field_names(kind) if name not in others}
    return kind(**copied, **others)
