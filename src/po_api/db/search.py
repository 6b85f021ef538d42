"""Full-text search: every word of `q` is a prefix of a word of the document or the end of its number.

A row's lines belong to its document; a `q` without words matches nothing. There are two methods with the same result.
Rows with a rare word are taken from the indexes and sorted. For a common word, of which an index has hundreds of
thousands of entries, the rows of the list are scanned in their order until the page is full.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    SQLColumnExpression,
    Text,
    any_,
    bindparam,
    column,
    false,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY

from po_api.db.query import AnySelect, Query, QueryExecutor

# How many rows of a list are scanned for each row of a page. To scan 2,000 takes PostgreSQL about as long as to fetch
# and sort the index entries of a word that is in 2.5 % of half a million rows (15 ms).
SCANNED_PER_ROW = 40

# No language: the texts are in several.
_CONFIGURATION: ColumnElement[str] = literal_column("'simple'")
_Q = bindparam("q", type_=Text)
_FOUND: ColumnElement[Any] = bindparam("found", type_=ARRAY(BigInteger))


class _Id(NamedTuple):
    """The id of a row that matches."""

    id: int


class _Share(NamedTuple):
    """The share of the table's rows that match, as the planner estimates it: 0 to 1."""

    share: float


@dataclass(frozen=True)
class Search:
    """The search of a table: `words` is the text of a row that the index `ix_<table>_search` is built on.

    `lines` selects the texts of the lines of a row of the outer query, if the table has lines; such a table also has a
    `number`. The parameter is `q`. Row-level security prevents the use of the indexes, except in security-definer
    functions, which filter by organisation themselves. `sees_all_lines`: the function looks at all lines of a row; if
    the member does not see all of them, what it finds is compared again with those of `lines`. `is_found`: the result
    of the function is in the parameter `found`.
    """

    table: FromClause
    words: Callable[[FromClause], ColumnElement[str]]
    lines: Callable[[FromClause], AnySelect] | None = None
    sees_all_lines: bool = True
    is_found: bool = False

    async def prepared(
        self, executor: QueryExecutor, parameters: Mapping[str, object]
    ) -> tuple["Search", Mapping[str, object]]:
        """The search for a statement with these parameters, and the statement's parameters.

        In a distributed database the function cannot be part of a statement on its tables, and is executed first.
        """
        if not executor.is_distributed:
            return self, parameters
        rows = await executor.rows(self._found, q=parameters["q"])
        return replace(self, is_found=True), {**parameters, "found": [row.id for row in rows]}

    @cached_property
    def _found(self) -> Query[_Id]:
        return Query(f"{self.table}.search", select(self._function()(_Q).label("id")), _Id)

    @cached_property
    def _share(self) -> Query[_Share]:
        return Query(f"{self.table}.search_share", select(self._function("_share")(_Q).label("share")), _Share)

    async def is_common(self, executor: QueryExecutor, q: str) -> bool:
        """Whether a scan is likely to fill a page; the tenant has been entered."""
        if self.is_found:
            return False
        row = await executor.row(self._share, q=q)
        return row is not None and row.share * SCANNED_PER_ROW > 1

    def by_index(self, statement: Select[Any], rows: FromClause) -> Select[Any]:
        """Those of the statement's rows that match; it selects from `rows`, which have the table's columns."""
        found = _FOUND if self.is_found else func.array(select(self._function()(_Q)).scalar_subquery())
        statement = statement.where(rows.c.id == any_(found))
        return statement if self.sees_all_lines else statement.where(self._matches(rows))

    def by_scan(self, rows: FromClause) -> Select[Any]:
        """Those of `rows`, which have the table's columns, that match."""
        return select(*rows.c).where(self._matches(rows))

    def _matches(self, rows: FromClause) -> ColumnElement[bool]:
        """Whether every word is in the document of the row; NULL without words."""
        terms = func.search_terms(_Q).table_valued(column("query", TSQUERY), column("ending", Text), name="term")
        found: list[ColumnElement[bool]] = [func.to_tsvector(_CONFIGURATION, self.words(rows)).op("@@")(terms.c.query)]
        if self.lines is not None:
            found.append(func.coalesce(func.reverse(func.lower(rows.c.number)).like(terms.c.ending), false()))
            found.append(func.coalesce(_any_line(self.lines(rows), terms, rows), false()))
        return select(func.bool_and(or_(*found))).select_from(terms).correlate(rows).scalar_subquery()

    def _function(self, suffix: str = "") -> Any:
        return getattr(func, f"search_{self.table}{suffix}")


def _any_line(lines: AnySelect, terms: FromClause, rows: FromClause) -> ColumnElement[bool]:
    """Not EXISTS: PostgreSQL may execute it by hashing all lines of the organisation."""
    (text,) = lines.selected_columns
    matches: ColumnElement[bool] = func.to_tsvector(_CONFIGURATION, text).op("@@")(terms.c.query)
    return lines.with_only_columns(func.bool_or(matches)).correlate(rows, terms).scalar_subquery()


def spaced(*texts: SQLColumnExpression[str]) -> ColumnElement[str]:
    """Texts with a space between them; all of it is NULL if one is."""
    first, *others = texts
    joined: ColumnElement[str] = type_coerce(first, Text)
    for text in others:
        joined = joined + " " + text
    return joined


def containing(text: str) -> str:
    """The pattern of LIKE for texts that contain this one: the parameter of `contains`."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def contains(pattern: ColumnElement[str], *texts: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether one of the texts matches the pattern of `containing`, in upper or lower case: for small tables, since it
    reads all rows of the organisation."""
    return or_(*(text.ilike(pattern, escape="\\") for text in texts))
