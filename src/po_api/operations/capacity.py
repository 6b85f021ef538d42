"""Whether the server has what the configuration asks of it."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.core.logging import get_logger
from po_api.settings import Settings

_AVAILABLE = text(
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true)::int, 0)"
)
_UNLIMITED = text(
    "SELECT name FROM pg_settings WHERE setting = '0'"
    " AND name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') ORDER BY name"
)
_log = get_logger(__name__)


async def warn_of_shortages(connection: AsyncConnection, settings: Settings) -> None:
    """Log a warning of what would only show under load: it works, but for how long."""
    if settings.db_pgbouncer:
        # It counts the connections itself, and takes no such settings of its clients: the role's are in force.
        missing = (await connection.scalars(_UNLIMITED)).all()
        if missing:
            _log.warning("role_has_no_time_outs", settings=missing, see="docs/scaling.md")
        return
    wanted = settings.web_concurrency * (settings.db_pool_size + settings.db_max_overflow)
    available = await connection.scalar(_AVAILABLE)
    if wanted > (available or 0):
        _log.warning(
            "connections_may_run_out",
            wanted=wanted,
            available=available,
            wanted_by="WEB_CONCURRENCY * (DB_POOL_SIZE + DB_MAX_OVERFLOW)",
        )
