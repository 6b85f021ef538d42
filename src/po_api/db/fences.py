"""Subqueries that PostgreSQL executes as they are written."""

from sqlalchemy import FromClause, literal_column

from po_api.db.query import AnySelect


def fenced(statement: AnySelect, name: str) -> FromClause:
    """A LATERAL subquery whose columns are computed once for each of its rows, however often they are used.

    Without OFFSET, PostgreSQL would put the subquery's expressions into each place that uses them, with a plan of its
    own for each of their subqueries, and could find its rows by reading whole tables for the statement around.
    """
    return statement.offset(literal_column("0")).lateral(name)
