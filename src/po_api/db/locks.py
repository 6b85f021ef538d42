"""Locks of something that has no row of its own."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession


async def lock_in_organisation(session: AsyncSession, what: str, organisation_id: int) -> None:
    """Let what has this name happen one after the other in an organisation, until the transaction ends.

    The statements after it see what the transaction that held the lock has committed.
    """
    lock = func.hashtextextended(f"{what} {organisation_id}", 0)
    await session.execute(select(func.pg_advisory_xact_lock(lock)))
