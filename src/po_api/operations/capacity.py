"""Whether the server's limits suffice for the configuration."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.observability.logging import get_logger
from po_api.settings import Settings

# The connections available to roles without privileges.
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
    """Log a shortage, which would otherwise only be noticed under load."""
    found = await shortage(connection, settings)
    if found is not None:
        _log.warning(**found)


async def shortage(connection: AsyncConnection, settings: Settings) -> dict[str, Any] | None:
    """The limit of the server that does not suffice, as a log entry; None if all do."""
    if settings.db_pgbouncer:
        # PgBouncer limits the connections itself and refuses these settings of clients: those of the role apply.
        missing = (await connection.scalars(_UNLIMITED)).all()
        return {"event": "role_time_outs_missing", "settings": missing, "see": "docs/scaling.md"} if missing else None
    required = settings.web_concurrency * (settings.db_pool_size + settings.db_max_overflow)
    available = (await connection.execute(AVAILABLE_CONNECTIONS)).scalar_one()
    if required <= available:
        return None
    required_by = "WEB_CONCURRENCY * (DB_POOL_SIZE + DB_MAX_OVERFLOW)"
    return {
        "event": "connection_limit_too_low",
        "required": required,
        "available": available,
        "required_by": required_by,
    }
