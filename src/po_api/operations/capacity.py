"""Whether the server has what the configuration asks of it."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.observability.logging import get_logger
from po_api.settings import Settings

# Those that are left for roles without privileges.
AVAILABLE_CONNECTIONS = text(
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true)::int, 0)"
)
_UNLIMITED = text(
    "SELECT name FROM pg_settings WHERE setting = '0'"
    " AND name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') ORDER BY name"
)
_log = get_logger(__name__)


async def warn_of_shortage(connection: AsyncConnection, settings: Settings) -> None:
    """Log what would only show under load."""
    found = await shortage(connection, settings)
    if found is not None:
        _log.warning(**found)


async def shortage(connection: AsyncConnection, settings: Settings) -> dict[str, Any] | None:
    """What the configuration asks of the server and that does not have, as a log entry; None if all is well."""
    if settings.db_pgbouncer:
        # It counts the connections itself, and takes no such settings of its clients: the role's are in force.
        missing = (await connection.scalars(_UNLIMITED)).all()
        return {"event": "role_has_no_time_outs", "settings": missing, "see": "docs/scaling.md"} if missing else None
    wanted = settings.web_concurrency * (settings.db_pool_size + settings.db_max_overflow)
    available = (await connection.execute(AVAILABLE_CONNECTIONS)).scalar_one()
    if wanted <= available:
        return None
    wanted_by = "WEB_CONCURRENCY * (DB_POOL_SIZE + DB_MAX_OVERFLOW)"
    return {"event": "connections_may_run_out", "wanted": wanted, "available": available, "wanted_by": wanted_by}
