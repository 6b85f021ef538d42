"""Keyset pages: a cursor holds the sort values of the last row, so that a deep page costs as much as the first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from po_api.core.errors import BadRequest, FieldError
from po_api.core.records import Record, field_names
from po_api.db.cursors import binding_of, decoded_cursor, encoded_cursor
from po_api.db.query import Query, QueryExecutor, R, columns_for
from po_api.db.search import SCANNED_PER_ROW, Search

T = TypeVar("T")

MAX_LIMIT = 100
DEFAULT_LIMIT = 50
MAX_GROUPS = 100


class InvalidSort(BadRequest):
    """The list cannot be sorted by this field."""

    code = "invalid_sort"
    title = "Invalid sort"

    def __init__(self, allowed: Sequence[str]) -> None:
        detail = f"sort by one of {', '.join(allowed)}, each with an optional leading minus"
        super().__init__(detail, errors=(FieldError("/sort", self.code, detail, "query"),))


@dataclass(frozen=True)
class PageRequest:
    """The paging parameters: `sort` as in `-created_at,number`; a cursor is only valid with the same `scope`."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    sort: str | None = None
    scope: str = ""


@dataclass(frozen=True)
class PageOf(Generic[T]):
    """One page; `next_cursor` is None on the last."""

    items: Sequence[T]
    next_cursor: str | None


@dataclass(frozen=True)
class _Key:
    name: str
    descending: bool


class GroupCount(NamedTuple):
    """The number of rows with one value of a column, as text; `total` is the number of all rows."""

    value: str | None
    row_count: int
    total: int


class Counts(NamedTuple):
    """How many rows of a list there are for each value of a column: at most MAX_GROUPS groups, the largest first."""

    group_by: str
    total: int
    groups: Sequence[GroupCount]


class Listing(Generic[R]):
    """A list that can be sorted and paged; `name` is that of its queries, `row` the type of its rows.

    `sorts` name columns of `table` that are never NULL and lead an index; every sort ends in the id. `show` selects the
    columns of `row` for the rows of a page, and of them only; by default they are the table's own. `groups` are values
    to count by that are no columns of the table.
    """

    def __init__(
        self,
        name: str,
        table: FromClause,
        row: type[R],
        *,
        sorts: Sequence[str],
        default: str,
        show: Callable[[FromClause], Select[Any]] | None = None,
        search: Search | None = None,
        groups: Mapping[str, ColumnElement[Any]] | None = None,
    ) -> None:
        self.name = name
        self.table = table
        self.row = row
        self._width = len(field_names(row))
        self.show = show or (lambda rows: select(*columns_for(row, rows)))
        self.search = search
        self._groups = groups
        self._sorts = frozenset(sorts)
        self._default = default

    async def page(
        self,
        executor: QueryExecutor,
        chosen: Callable[[], Select[Any]],
        request: PageRequest,
        parameters: Mapping[str, object],
    ) -> PageOf[R]:
        """The requested page, in one query whatever its size; a search takes up to three more.

        `chosen` selects the rows of the table that are on the list, with a `bindparam` for each of the `parameters`
        but `q`, which is for the list's search. It is called once for each statement: everything that changes the
        statement has to be part of its hash.
        """
        keys = self._keys(request.sort or self._default)
        binding = binding_of(_described(keys), request.scope)
        last: dict[str, object] = {}
        if request.cursor is not None:
            columns = [self.table.c[key.name] for key in keys]
            last = {
                _after(key): value
                for key, value in zip(keys, decoded_cursor(request.cursor, binding, columns), strict=True)
            }
        shape = _PageShape(self, chosen, keys, request.limit, bool(last))
        listed = await self._listed(executor, shape, {**parameters, **last})
        make: Callable[..., R] = self.row
        rows = [make(*columns[: self._width]) for columns in listed[: request.limit]]
        if len(listed) <= request.limit:
            return PageOf(rows, None)
        return PageOf(rows, encoded_cursor(binding, listed[request.limit - 1][self._width :]))

    async def counts(
        self,
        executor: QueryExecutor,
        chosen: Callable[[], Select[Any]],
        group_by: str,
        parameters: Mapping[str, object],
    ) -> "Counts":
        """How many of the rows there are for each value of a column, in one query; see `page` for the parameters."""
        searched, parameters = await self._searched(executor, parameters)
        rows = await executor.rows(_count_query(self, chosen, group_by, searched), **parameters)
        return Counts(group_by, rows[0].total if rows else 0, rows)

    async def count(
        self,
        executor: QueryExecutor,
        chosen: Callable[[], Select[Any]],
        parameters: Mapping[str, object],
        *,
        limit: int,
    ) -> int:
        """How many of the rows there are, at most `limit`; see `page` for the parameters."""
        searched, parameters = await self._searched(executor, parameters)
        found = await executor.row(_size_query(self, chosen, searched, limit), **parameters)
        assert found is not None
        return found.row_count

    def group(self, name: str) -> ColumnElement[Any]:
        """The value to count by."""
        group: ColumnElement[Any] = self._groups[name] if self._groups else self.table.c[name]
        return group

    async def _listed(
        self, executor: QueryExecutor, shape: "_PageShape[R]", parameters: Mapping[str, object]
    ) -> Sequence[asyncpg.Record]:
        """The columns of the page's rows, and of one more if there is a next page."""
        searched, parameters = await self._searched(executor, parameters)
        if searched and shape.follows_an_index and await searched.is_common(executor, str(parameters["q"])):
            listed = await executor.rows(_scan_query(shape, searched), **parameters)
            if len(listed) > shape.limit or await executor.row(_rest_query(shape), **parameters) is None:
                return listed
        return await executor.rows(_page_query(shape, searched), **parameters)

    async def _searched(
        self, executor: QueryExecutor, parameters: Mapping[str, object]
    ) -> tuple[Search | None, Mapping[str, object]]:
        """The search, if there is one, and the parameters of its statements."""
        if self.search is None or "q" not in parameters:
            return None, parameters
        return await self.search.prepared(executor, parameters)

    def _keys(self, sort: str) -> tuple[_Key, ...]:
        keys = [_Key(name.removeprefix("-"), name.startswith("-")) for name in sort.split(",")]
        if not self._sorts.issuperset(key.name for key in keys) or len({key.name for key in keys}) != len(keys):
            raise InvalidSort(sorted(self._sorts))
        return (*(key for key in keys if key.name != "id"), _Key("id", keys[-1].descending))


class _PageQuery(Query[asyncpg.Record]):
    """Selects the columns of a list's row type, then those that it is sorted by.

    The driver's records are used as they are: only the last row of a page needs the latter. To take each apart took 4 %
    of the time of a list of fifty.
    """

    def __init__(self, name: str, statement: Any, item: type[Record], sorted_by: Sequence[str]) -> None:
        super().__init__(name, statement, asyncpg.Record)
        self._fields = (*field_names(item), *sorted_by)

    def make_row(self, record: Any) -> asyncpg.Record:
        return record

    @property
    def _columns(self) -> tuple[str, ...]:
        return self._fields


class _Id(NamedTuple):
    id: int


@dataclass(frozen=True)
class _PageShape(Generic[R]):
    """Everything that determines a page's statement; `continues`: the page begins after the row of a cursor."""

    listing: Listing[R]
    chosen: Callable[[], Select[Any]]
    keys: Sequence[_Key]
    limit: int
    continues: bool

    @property
    def follows_an_index(self) -> bool:
        return len(self.keys) == 2  # a column that leads an index, and the id

    @property
    def scanned(self) -> ColumnElement[int]:
        return _number((self.limit + 1) * SCANNED_PER_ROW)

    def rows(self) -> Select[Any]:
        """The rows of the list from the beginning of the page on, in the list's order."""
        statement = self.chosen()
        if self.continues:
            statement = statement.where(_follows(self.listing.table, self.keys))
        return statement.order_by(*_order(self.listing.table, self.keys))

    def query(self, statement: Select[Any]) -> _PageQuery:
        """The first of the statement's rows, and one more if there is one."""
        rows = statement.limit(_number(self.limit + 1)).subquery("page")
        names = [f"sorted_by_{key.name}" for key in self.keys]
        sorted_by = (rows.c[key.name].label(name) for key, name in zip(self.keys, names, strict=True))
        shown = self.listing.show(rows).add_columns(*sorted_by).order_by(*_order(rows, self.keys))
        return _PageQuery(self.listing.name, shown, self.listing.row, names)


@lru_cache(maxsize=1024)
def _page_query(shape: _PageShape[Any], searched: Search | None) -> _PageQuery:
    return shape.query(searched.by_index(shape.rows(), shape.listing.table) if searched else shape.rows())


@lru_cache(maxsize=256)
def _scan_query(shape: _PageShape[Any], searched: Search) -> _PageQuery:
    """The matches among the first rows of the list."""
    rows = shape.rows().limit(shape.scanned).subquery("scanned")
    return shape.query(searched.by_scan(rows).order_by(*_order(rows, shape.keys)))


@lru_cache(maxsize=256)
def _rest_query(shape: _PageShape[Any]) -> Query[_Id]:
    """The first row after those that are scanned."""
    rows = shape.rows().offset(shape.scanned).limit(_number(1)).subquery("rest")
    return Query(f"{shape.listing.name}.rest", select(rows.c.id), _Id)


@lru_cache(maxsize=256)
def _count_query(
    listing: Listing[Any], chosen: Callable[[], Select[Any]], group_by: str, searched: Search | None
) -> Query[GroupCount]:
    rows = searched.by_index(chosen(), listing.table) if searched else chosen()
    value, count = listing.group(group_by), func.count()
    total = cast(func.sum(count).over(), BigInteger)
    counted = rows.with_only_columns(
        cast(value, Text).label("value"), count.label("row_count"), total.label("total"), maintain_column_froms=True
    )
    grouped = counted.group_by(value).order_by(count.desc(), value).limit(_number(MAX_GROUPS))
    return Query(f"{listing.name}.counts", grouped, GroupCount)


class _Size(NamedTuple):
    row_count: int


@lru_cache(maxsize=256)
def _size_query(
    listing: Listing[Any], chosen: Callable[[], Select[Any]], searched: Search | None, limit: int
) -> Query[_Size]:
    rows = searched.by_index(chosen(), listing.table) if searched else chosen()
    some = rows.with_only_columns(listing.table.c.id, maintain_column_froms=True).limit(_number(limit)).subquery("some")
    return Query(f"{listing.name}.size", select(func.count().label("row_count")).select_from(some), _Size)


def _number(value: int) -> ColumnElement[int]:
    """`value` as a part of the statement's text: PostgreSQL plans badly for a limit that is a parameter."""
    return literal_column(str(value))


def _order(source: FromClause, keys: Sequence[_Key]) -> list[ColumnElement[Any]]:
    return [source.c[key.name].desc() if key.descending else source.c[key.name].asc() for key in keys]


def _after(key: _Key) -> str:
    return f"after_{key.name}"


def _follows(table: FromClause, keys: Sequence[_Key]) -> ColumnElement[bool]:
    """The rows after the cursor's: a row comparison, which an index supports, if all keys have one direction."""
    columns = [table.c[key.name] for key in keys]
    values = [bindparam(_after(key), type_=column.type) for key, column in zip(keys, columns, strict=True)]
    if len({key.descending for key in keys}) == 1:
        row, last = tuple_(*columns), tuple_(*values)
        return row < last if keys[0].descending else row > last
    branches = []
    for position, key in enumerate(keys):
        equal = [columns[before] == values[before] for before in range(position)]
        follows = columns[position] < values[position] if key.descending else columns[position] > values[position]
        branches.append(and_(*equal, follows))
    return or_(*branches)


def _described(keys: Sequence[_Key]) -> str:
    return ",".join(f"{'-' if key.descending else ''}{key.name}" for key in keys)
