"""Whether a database is distributed over several servers by Citus; found once for each engine.

The differences are about time, but for searches: plan cache modes are its own choice, the organisation's id is in the
text of statements (query.py), and what is one statement elsewhere is several here (separate_writes.py, search.py).
"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

_OPTION = "is_distributed"
# The prepared statements that a connection keeps. Where organisations are in the texts of statements (query.py), each
# has its own thirty or so, and a text that is not kept is planned for 10 ms more.
KEPT_STATEMENTS = 100
_KEPT_WHERE_DISTRIBUTED = 1000
_KEEPS_PLANS = "keeps_plans"
_QUERY = """
    SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus'),
        to_regprocedure('run_prepared(bigint, text, text, text[])') IS NOT NULL
"""


async def find_out(engine: AsyncEngine, connection: Any) -> None:
    """Let `is_distributed` know, by the engine's first connection: one of the driver."""
    if _OPTION not in engine.get_execution_options():
        found, has_function = await connection.fetchrow(_QUERY)
        engine.update_execution_options(**{_OPTION: found, _KEEPS_PLANS: found and has_function})


def is_distributed(engine: AsyncEngine) -> bool:
    """Whether the engine's database is distributed; it has had a connection."""
    return bool(engine.get_execution_options().get(_OPTION, False))


def keeps_plans(engine: AsyncEngine) -> bool:
    """Whether the servers of the distributed database can keep plans (shard_plans.py)."""
    return bool(engine.get_execution_options().get(_KEEPS_PLANS, False))


def kept_statements(engine: AsyncEngine) -> int:
    """The number of prepared statements that a new connection should keep."""
    return _KEPT_WHERE_DISTRIBUTED if is_distributed(engine) else KEPT_STATEMENTS
