"""The filters of lists as query parameters: one table for each list, from the same family.

    PorfFiltersDep = Annotated[Filters, Depends(filters(any_of("status", PorfStatus), *CREATED_AT, search("…")))]

db/filters.py derives the conditions from the names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import Query

from po_api.db.filters import Filters
from po_api.web.schemas import AmountString, IsoDate, Moment, Search


@dataclass(frozen=True)
class Filter:
    """A query parameter; `type` is that of its value, or of one of several."""

    name: str
    type: Any
    description: str | None = None
    examples: tuple[Any, ...] = ()
    default: Any = None
    repeatable: bool = False

    def parameter(self) -> Parameter:
        """The parameter of a function that FastAPI calls."""
        info = Query(description=self.description, examples=list(self.examples) or None)
        type_: Any = self.type
        if self.repeatable:
            type_ = list[type_]
        elif self.default is None:
            type_ = type_ | None
        return Parameter(self.name, Parameter.KEYWORD_ONLY, default=self.default, annotation=Annotated[type_, info])


def one(name: str, type_: Any, description: str, *examples: Any) -> Filter:
    """A filter by one value."""
    return Filter(name, type_, description, examples)


def any_of(name: str, type_: Any, description: str, *examples: Any) -> Filter:
    """A filter by one or several values, which mean any of them."""
    return Filter(name, type_, description, examples, default=[], repeatable=True)


def flag(name: str, description: str) -> Filter:
    """A filter that is on or off."""
    return Filter(name, bool, description, default=False)


def search(description: str, *examples: str) -> Filter:
    """The search `q`."""
    return Filter("q", Search, description, examples)


def moments(name: str) -> tuple[Filter, Filter]:
    """An inclusive lower and an exclusive upper bound of a time."""
    return _bounds(name, Moment, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")


def days(name: str, description: str | None = None) -> tuple[Filter, Filter]:
    """An inclusive lower and an exclusive upper bound of a date."""
    return _bounds(name, IsoDate, "2026-01-01", "2027-01-01", description)


def amounts(name: str, description: str) -> tuple[Filter, Filter]:
    """An inclusive lower and an exclusive upper bound of an amount."""
    return _bounds(name, AmountString, "100.00", "1000.00", description)


def _bounds(name: str, type_: Any, lower: str, upper: str, description: str | None = None) -> tuple[Filter, Filter]:
    return (
        Filter(f"{name}_gte", type_, description, (lower,)),
        Filter(f"{name}_lt", type_, description, (upper,)),
    )


# Every list whose items have these times has these filters.
CREATED_AT, UPDATED_AT = moments("created_at"), moments("updated_at")


class FilterDependency:
    """Collects the filters of a request; FastAPI reads its signature."""

    def __init__(self, declared: Iterable[Filter]) -> None:
        self.__signature__ = Signature([each.parameter() for each in declared])

    async def __call__(self, **values: object) -> Filters:
        return Filters(**values)


def filters(*declared: Filter) -> FilterDependency:
    """The dependency of a list with these filters."""
    return FilterDependency(declared)
