"""Full-text search: every word of `q` is a prefix of a word of the document; a `q` without words matches nothing.

There are two methods with the same result. Rows with a rare word are taken from the index and sorted. For a common
word, of which the index has hundreds of thousands of entries, the rows of the list are scanned in their order until the
page is full.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Select, Text, any_, bindparam, func, literal_column, select

from po_api.db.query import Query, QueryExecutor

# How many rows of a list are scanned for each row of a page. To scan 2,000 takes PostgreSQL about as long as to fetch
# and sort the index entries of a word that is in 2.5 % of half a million rows (15 ms).
SCANNED_PER_ROW = 40

# No language: the texts are in several.
_CONFIGURATION: ColumnElement[str] = literal_column("'simple'")
_Q = bindparam("q", type_=Text)


class _Share(NamedTuple):
    """The share of the table's rows that match, as the planner estimates it: 0 to 1."""

    share: float


@dataclass(frozen=True)
class Search:
    """The search of a table: `words` is the text of a row that the index `ix_<table>_search` is built on.

    The parameter is `q`. Row-level security prevents the use of the index, except in security-definer functions, which
    filter by organisation themselves.
    """

    table: FromClause
    words: Callable[[FromClause], ColumnElement[str]]

    @cached_property
    def _share(self) -> Query[_Share]:
        return Query(f"{self.table}.search_share", select(self._function("_share")(_Q).label("share")), _Share)

    async def is_common(self, executor: QueryExecutor, q: str) -> bool:
        """Whether a scan is likely to fill a page; the tenant has been entered."""
        row = await executor.row(self._share, q=q)
        return row is not None and row.share * SCANNED_PER_ROW > 1

    def by_index(self, statement: Select[Any]) -> Select[Any]:
        """Those of the statement's rows that match."""
        found = select(self._function()(_Q)).scalar_subquery()
        return statement.where(statement.selected_columns.id == any_(func.array(found)))

    def by_scan(self, rows: FromClause) -> Select[Any]:
        """Those of `rows`, which have the table's columns, that match."""
        query = select(func.search_query(_Q)).scalar_subquery()
        return select(*rows.c).where(func.to_tsvector(_CONFIGURATION, self.words(rows)).op("@@")(query))

    def _function(self, suffix: str = "") -> Any:
        return getattr(func, f"search_{self.table}{suffix}")


def spaced(*texts: ColumnElement[str]) -> ColumnElement[str]:
    """Texts with a space between them; all of it is NULL if one is."""
    first, *others = texts
    for text in others:
        first = first + " " + text
    return first
