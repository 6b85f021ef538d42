"""PostgreSQL's error codes (SQLSTATE), and how to read them from the driver's exceptions."""

import asyncpg

# How the loss of a connection to PostgreSQL appears. InternalClientError: a statement was sent after the driver had
# read the server's last message and before it saw the end of the stream.
CONNECTION_LOST = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# The transaction was rolled back because of a concurrent one, and may succeed when it is retried.
SERIALISATION_FAILURE, DEADLOCK = "40001", "40P01"


def sqlstate_of(error: BaseException) -> str:
    """The SQLSTATE of an error of the driver, or of SQLAlchemy's wrapper around one; empty if it has none."""
    return getattr(getattr(error, "orig", None) or error, "sqlstate", None) or ""
