"""Text search: every word of the question begins a word of the document; no word at all finds nothing.

Two ways find the same. What holds a rare word comes from the index, all of it, and is sorted. What holds a common word
is met soon enough by looking at a list's rows in their order, where the index would bring hundreds of thousands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Text, any_, bindparam, func, literal_column, select

from po_api.db.query import Query, QueryExecutor

# How many rows of a list are looked at for each that a page holds. Looking at 2,000 takes PostgreSQL about as long as
# to fetch and sort what the index has of a word that is in 2.5 % of half a million (15 ms).
LOOKED_AT = 40

# No language: people write several.
_CONFIGURATION: ColumnElement[str] = literal_column("'simple'")
_QUESTION = bindparam("q", type_=Text)


@dataclass(frozen=True)
class Search:
    """The search of a table: `words` are a row's text, as the index `ix_<table>_search` has it.

    The parameter is `q`. The index is beyond row-level security's reach: functions with the organisation inside use it.
    """

    table: FromClause
    words: Callable[[FromClause], ColumnElement[str]]

    @cached_property
    def _share(self) -> Query:
        return Query(f"{self.table}.search_share", select(self._function("_share")(_QUESTION).label("share")))

    async def is_common(self, executor: QueryExecutor, question: str) -> bool:
        """Whether looking at the rows is likely to fill a page; the tenant is entered."""
        row = await executor.row(self._share, q=question)
        return bool(row.share * LOOKED_AT > 1)

    def by_index(self, statement: Select[Any]) -> Select[Any]:
        """Those of the statement's rows that match."""
        found = select(self._function()(_QUESTION)).scalar_subquery()
        return statement.where(self.table.c.id == any_(func.array(found)))

    def by_looking(self, rows: FromClause) -> Select[Any]:
        """Those of some rows with the table's columns that match."""
        asked = select(func.search_query(_QUESTION)).scalar_subquery()
        return select(*rows.c).where(func.to_tsvector(_CONFIGURATION, self.words(rows)).op("@@")(asked))

    def _function(self, suffix: str = "") -> Any:
        return getattr(func, f"search_{self.table}{suffix}")


def spaced(*texts: ColumnElement[str]) -> ColumnElement[str]:
    """Texts with a space between them; all of it is NULL if one is."""
    first, *others = texts
    for text in others:
        first = first + " " + text
    return first
