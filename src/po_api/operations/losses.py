"""Data that downgrades lose: each revision declares what it may lose, and the database is checked for such rows."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from po_api.operations.revisions import Revision


def lossy(connection: Connection, revisions: Iterable[Revision]) -> Sequence[Revision]:
    """The revisions whose downgrade would lose rows or values; `revisions` are all that it has."""
    present = list(revisions)
    moved = {rows: place for revision in present for rows, place in revision.moved_rows.items()}
    return [revision for revision in present if revision.loses is not None and _is_there(connection, revision, moved)]


def _is_there(connection: Connection, revision: Revision, moved: Mapping[str, str]) -> bool:
    if revision.lost_rows is None:
        return True
    places = [moved.get(rows, rows) for rows in revision.lost_rows]
    queries = (f"SELECT EXISTS (SELECT FROM {rows})" for rows in places)  # noqa: S608 - revisions' constants
    try:
        with connection.begin_nested():
            return any(connection.scalar(text(query)) for query in queries)
    except ProgrammingError:
        # A later revision has renamed the tables or columns: there may be data to lose.
        return True
