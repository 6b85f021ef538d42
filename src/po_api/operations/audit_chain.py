"""Verifying the audit trail: walks the chain of seals (audit/chain.py) as the tables' owner."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from po_api.audit.chain import NO_SEAL, SEALED_COLUMNS, seal

_NOTED = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")
# The rows of the log that are fetched at once.
_FETCHED = 1000

# Whatever the owner has written there: the driver cannot represent all times, nor Python all JSON.
_TEXTS = {
    "before": "e.before::text",
    "after": "e.after::text",
    "created_at": """to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || CASE WHEN e.created_at < '0001-01-01' THEN ' BC' ELSE '' END AS created_at""",
}
_COLUMNS = ", ".join(_TEXTS.get(name, f"e.{name}") for name in SEALED_COLUMNS)
_LOG = f"""
    SELECT l.number, l.event_id, l.seal, {_COLUMNS} FROM event_log l
    LEFT JOIN audit_events e ON e.organisation_id = l.organisation_id AND e.id = l.event_id
    WHERE l.organisation_id = $1 ORDER BY l.number
"""  # noqa: S608 - names of columns
_POSITION = "SELECT last_number, last_seal FROM event_feeds WHERE organisation_id = $1 AND ended_at IS NULL"
_WAITING = "SELECT count(*) FROM event_outbox WHERE organisation_id = $1"
_UNKNOWN = """
    SELECT id FROM audit_events e WHERE organisation_id = $1
      AND NOT EXISTS (SELECT FROM event_log l WHERE l.organisation_id = $1 AND l.event_id = e.id)
      AND NOT EXISTS (SELECT FROM event_outbox o WHERE o.organisation_id = $1 AND o.event_id = e.id)
    ORDER BY id LIMIT 1
"""
_TWICE = """
    SELECT o.event_id FROM event_outbox o
    JOIN event_log l ON l.organisation_id = o.organisation_id AND l.event_id = o.event_id
    WHERE o.organisation_id = $1 ORDER BY o.event_id LIMIT 1
"""


class AuditTrailDamaged(Exception):
    """The verification has found faults; the message is one line."""


@dataclass(frozen=True)
class NotedSeal:
    """A seal that was noted down: of the event with this number."""

    number: int
    seal: str

    @classmethod
    def parse(cls, text: str) -> "NotedSeal | None":
        """The seal in the form NUMBER:SEAL; None for another text."""
        match = _NOTED.fullmatch(text)
        return cls(int(match[1]), match[2]) if match else None


class ChainResult(NamedTuple):
    """The chain of one organisation: its end, the events without a number, and what is wrong with it."""

    organisation_id: int
    number: int
    seal: str
    waiting: int
    faults: list[str]


async def verify_chains(
    connection: Any, organisation_id: int | None = None, noted: NotedSeal | None = None
) -> AsyncIterator[ChainResult]:
    """Verify the chain of one organisation or of all, in one snapshot.

    `connection` is an asyncpg connection of the tables' owner; `noted` is a seal of the one organisation.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        query = "SELECT id FROM organisations WHERE $1::bigint IS NULL OR id = $1 ORDER BY id"
        for row in await connection.fetch(query, organisation_id):
            yield await _verify(connection, row["id"], noted)


async def _verify(connection: Any, organisation_id: int, noted: NotedSeal | None) -> ChainResult:
    """The first fault of the chain, the first event outside of it, and a difference to the noted seal."""
    walk = _Walk(noted)
    async for row in connection.cursor(_LOG, organisation_id, prefetch=_FETCHED):
        if not walk.take(row):
            break
    else:
        walk.end(await connection.fetchrow(_POSITION, organisation_id))
    faults = [*walk.faults]
    if (inserted := await connection.fetchval(_UNKNOWN, organisation_id)) is not None:
        faults.append(f"event {inserted} was inserted: it has no number, and does not wait for one")
    if (queued := await connection.fetchval(_TWICE, organisation_id)) is not None:
        faults.append(f"event {queued} has a number, and waits for another one")
    waiting = await connection.fetchval(_WAITING, organisation_id)
    return ChainResult(organisation_id, walk.number, walk.seal, waiting, faults)


def _seal(previous: str, event: Mapping[str, Any]) -> str | None:
    """The seal of an event; None if the event is none that can have been sealed."""
    try:
        return seal(previous, event)
    except (ValueError, RecursionError):
        return None


class _Walk:
    """Computes the seals again, entry by entry, up to the first fault."""

    def __init__(self, noted: NotedSeal | None) -> None:
        self.number = 0
        self.seal = NO_SEAL
        self.faults: list[str] = []
        self._noted = noted

    def take(self, row: Mapping[str, Any]) -> bool:
        """The next entry of the log with its event; returns False after a fault."""
        expected = self.number + 1
        if row["number"] != expected:
            return self._fault(f"the event with the number {expected} was removed, and so was its number")
        if row["id"] is None:
            return self._fault(f"event {row['event_id']} (number {expected}) was removed")
        computed = _seal(self.seal, row)
        if computed is None or computed != row["seal"]:
            return self._fault(f"event {row['event_id']} (number {expected}) or its seal was changed")
        self.number, self.seal = expected, computed
        if self._noted is not None and self._noted.number == expected and self._noted.seal != self.seal:
            return self._fault(
                f"the seal of number {expected} is not the noted one: an event up to this number was changed, removed"
                " or inserted, and all seals from there on were computed again"
            )
        return True

    def end(self, position: Mapping[str, Any] | None) -> None:
        """Compare the end of the log with the feed and with the noted seal."""
        last = 0 if position is None else position["last_number"]
        if self.number < last:
            self._fault(f"the events after number {self.number} were removed: the last number is {last}")
        elif self.number > last:
            self._fault(f"the event with the number {last + 1} was inserted: the last number is {last}")
        elif position is not None and position["last_seal"] != self.seal:
            self._fault(f"the seal of the feed was changed: that of number {last} is {self.seal}")
        elif self._noted is not None and self._noted.number > self.number:
            self._fault(f"the chain ends at number {self.number}, before the noted number {self._noted.number}")

    def _fault(self, text: str) -> bool:
        self.faults.append(text)
        return False
