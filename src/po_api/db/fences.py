"""Subqueries that PostgreSQL executes as they are written."""

from collections.abc import Sequence

from sqlalchemy import ARRAY, BigInteger, ColumnElement, FromClause, cast, func, literal_column

from po_api.db.query import AnySelect


def fenced(statement: AnySelect, name: str) -> FromClause:
    """A LATERAL subquery whose columns are computed once for each of its rows, however often they are used.

    Without OFFSET, PostgreSQL would put the subquery's expressions into each place that uses them, with a plan of its
    own for each of their subqueries, and could find its rows by reading whole tables for the statement around.
    """
    return statement.offset(literal_column("0")).lateral(name)


def ids_of(statement: AnySelect) -> ColumnElement[Sequence[int]]:
    """The ids that a statement finds, as an array to compare with `= ANY`.

    It is made once, and the rows are found by their index. With IN, PostgreSQL may read all rows of an organisation and
    compare each, above all in a new database, whose tables have no statistics.
    """
    return cast(func.array(statement.scalar_subquery()), ARRAY(BigInteger))
