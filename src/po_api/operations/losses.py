"""Data that downgrades lose: each revision declares what it may lose, and the database is checked for such rows."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from po_api.operations.revisions import Revision


def lossy(connection: Connection, revisions: Iterable[Revision]) -> Sequence[Revision]:
    """The revisions whose downgrade would lose rows or values; the database has all of `revisions`."""
    return [revision for revision in revisions if revision.loses is not None and _is_there(connection, revision)]


def _is_there(connection: Connection, revision: Revision) -> bool:
    if revision.lost_rows is None:
        return True
    queries = (f"SELECT EXISTS (SELECT FROM {rows})" for rows in revision.lost_rows)  # noqa: S608 - revisions' constants
    try:
        with connection.begin_nested():
            return any(connection.scalar(text(query)) for query in queries)
    except ProgrammingError:
        # A later revision has renamed the tables or columns: there may be data to lose.
        return True
