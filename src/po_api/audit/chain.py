"""The chain of seals: the seal of an event is the digest of the seal before it and of the event as canonical JSON.

A seal that was noted elsewhere shows later whether an event up to it was changed, removed or inserted (docs/events.md).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

# The seal before the first event.
NO_SEAL = "0" * 64

# The columns of `audit_events` in the canonical JSON. Later columns may be appended: those that are NULL are left out,
# so that the seals of earlier events stay the same.
SEALED_COLUMNS: Sequence[str] = (
    *("organisation_id", "id", "actor_kind", "actor_id", "action", "entity", "entity_id", "entity_version"),
    *("before", "after", "request_id", "created_at"),
)
_CHANGES = ("before", "after")


def canonical_json(event: Mapping[str, object]) -> bytes:
    """The SEALED_COLUMNS of an event in the one form that is sealed; `before` and `after` are JSON texts.

    RFC 8785 for what events contain: keys are sorted, there is no white space, characters are not escaped unless JSON
    requires it. Times are in UTC with six decimals. Numbers that are not integers are texts, as PostgreSQL has stored
    them: a float would round them.
    """
    found = {name: event[name] for name in SEALED_COLUMNS if event[name] is not None}
    return json.dumps(
        {name: _value(name, value) for name, value in found.items()},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


def _value(name: str, value: object) -> object:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return json.loads(str(value), parse_float=str) if name in _CHANGES else value


def seal(previous: str, event: Mapping[str, object]) -> str:
    """The seal of an event, as 64 hexadecimal digits; `previous` is that of the event before it, or NO_SEAL."""
    return hashlib.sha256(bytes.fromhex(previous) + canonical_json(event)).hexdigest()
