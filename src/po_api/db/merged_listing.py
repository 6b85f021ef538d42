"""Lists of rows from several tables, in the order of their times: one statement, each part of which is limited."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    bindparam,
    column,
    literal_column,
    select,
    tuple_,
    union_all,
)

from po_api.core.records import field_names
from po_api.db.cursors import binding_of, decoded_cursor, encoded_cursor
from po_api.db.models import Timestamp
from po_api.db.pagination import InvalidSort, PageOf, PageRequest
from po_api.db.query import AnySelect, Query, QueryExecutor, R

SORT = "at"
# `branch` is the number of the branch, so that rows with equal times have an order, too.
_KEYS = (column("at", Timestamp), column("branch", Integer), column("id", BigInteger))
_NAMES = tuple(key.name for key in _KEYS)
_AFTER = tuple(bindparam(f"after_{key.name}", type_=key.type) for key in _KEYS)


class Branch(NamedTuple):
    """The rows of one table: `chosen` selects those on the list, whose time is in the column `at`. With what they are
    chosen by, that leads an index, or they are few. `show` selects the other columns, for the rows of a page only."""

    chosen: AnySelect
    at: str
    show: Callable[[FromClause], AnySelect]


class MergedListing(Generic[R]):
    """The rows of several branches; `name` is that of its query, `row` the type of its rows.

    The first columns of a row are `at`, `branch` and `id`. The list can be sorted by `at` in both directions.
    """

    def __init__(self, name: str, row: type[R], branches: Sequence[Branch]) -> None:
        self.name = name
        self.row = row
        self.branches = branches

    async def page(self, executor: QueryExecutor, request: PageRequest, parameters: Mapping[str, object]) -> PageOf[R]:
        """The requested page, in one query whatever its size; oldest first by default."""
        sort = request.sort or SORT
        if sort.removeprefix("-") != SORT:
            raise InvalidSort([SORT])
        binding, last = binding_of(sort, request.scope), {}
        if request.cursor is not None:
            values = decoded_cursor(request.cursor, binding, _KEYS)
            last = {parameter.key: value for parameter, value in zip(_AFTER, values, strict=True)}
        query = _page(self, request.limit, descending=sort.startswith("-"), continues=bool(last))
        listed = await executor.rows(query, **parameters, **last)
        rows = listed[: request.limit]
        if len(listed) <= request.limit:
            return PageOf(rows, None)
        return PageOf(rows, encoded_cursor(binding, [getattr(rows[-1], name) for name in _NAMES]))


@lru_cache(maxsize=256)
def _page(listing: MergedListing[R], limit: int, *, descending: bool, continues: bool) -> Query[R]:
    number = literal_column(str(limit + 1), Integer)
    parts = [
        _part(branch, place, number, descending=descending, continues=continues)
        for place, branch in enumerate(listing.branches)
    ]
    merged = union_all(*parts).subquery("merged")
    names = field_names(listing.row)
    ordered = select(*(merged.c[name] for name in names)).order_by(*_directed(merged, descending)).limit(number)
    return Query(listing.name, ordered, listing.row)


def _part(branch: Branch, place: int, number: ColumnElement[int], *, descending: bool, continues: bool) -> AnySelect:
    """The first rows of a branch after those of the cursor."""
    table = branch.chosen.get_final_froms()[0]
    at, rank = table.c[branch.at], literal_column(str(place), Integer)
    chosen = branch.chosen
    if continues:
        row, last = tuple_(at, rank, table.c.id), tuple_(*_AFTER)
        # The first condition is for the index.
        chosen = chosen.where(at <= _AFTER[0] if descending else at >= _AFTER[0])
        chosen = chosen.where(row < last if descending else row > last)
    keys = (at, table.c.id)
    ordered = chosen.order_by(*(key.desc() if descending else key.asc() for key in keys)).limit(number)
    rows = ordered.subquery("rows")
    own = (rows.c[branch.at].label("at"), rank.label("branch"), rows.c.id)
    shown = branch.show(rows)
    return shown.with_only_columns(*own, *shown.selected_columns)


def _directed(merged: FromClause, descending: bool) -> list[ColumnElement[object]]:
    columns = [merged.c[name] for name in _NAMES]
    return [column.desc() if descending else column.asc() for column in columns]
