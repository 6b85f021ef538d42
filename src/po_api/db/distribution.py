"""Whether a database is distributed over several servers by Citus; found once for each engine.

The differences are about time, but for searches: plan cache modes are its own choice, the organisation's id is in the
text of statements (query.py), and what is one statement elsewhere is several here (separate_writes.py, search.py).
"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

_OPTION = "is_distributed"
_QUERY = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"


async def find_out(engine: AsyncEngine, connection: Any) -> None:
    """Let `is_distributed` know, by the engine's first connection: one of the driver."""
    if _OPTION not in engine.get_execution_options():
        engine.update_execution_options(**{_OPTION: await connection.fetchval(_QUERY)})


def is_distributed(engine: AsyncEngine) -> bool:
    """Whether the engine's database is distributed; it has had a connection."""
    return bool(engine.get_execution_options().get(_OPTION, False))
