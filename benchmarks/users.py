"""The users of the scenarios and their requests: members of the data set's organisations, signed in for this run."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.database import Server, connection
from po_api.core.clock import utc_now
from po_api.sessions import tokens

LIFETIME = timedelta(days=1)
PAGE = 50
DEEP = 100_000
CASTS = 16
# Of further organisations, which have a policy. There are no more than three in the smallest data set.
POLICY_CASTS = 4
_PORFS_EACH = 12
_CAST = ("requester", "colleague", "approver", "buyer", "auditor", "admin")
# Those who approve where there is a policy, each in one stage.
_POLICY_APPROVERS = ("buyer", "colleague", "approver")

# Members of the largest organisation and of others, in each role, who see more than one page.
_READERS = """
    WITH organisation AS (
        SELECT organisation_id AS id FROM porfs GROUP BY 1 HAVING count(*) > 60 ORDER BY count(*) DESC LIMIT 4
    ), busiest AS (
        SELECT requester_id FROM porfs WHERE organisation_id = (SELECT min(id) FROM organisation)
        GROUP BY 1 HAVING count(*) > 60 ORDER BY count(*) DESC LIMIT 1
    )
    SELECT min(m.user_id) AS user_id, m.organisation_id, m.roles[1] AS role
    FROM members m JOIN organisation o ON o.id = m.organisation_id
    WHERE m.roles[1] <> 'requester' AND m.roles[1] IN ('buyer', CASE WHEN o.id = 1 THEN m.roles[1] END)
    GROUP BY 2, 3, m.approval_limit IS NULL
    UNION ALL
    SELECT m.user_id, m.organisation_id, m.roles[1] FROM members m JOIN busiest b ON b.requester_id = m.user_id
    ORDER BY 2, 3
"""
_CASTS = """
    SELECT m.organisation_id, min(s.id) AS supplier_id,
        min(m.user_id) FILTER (WHERE 'requester' = ANY (m.roles)) AS requester,
        max(m.user_id) FILTER (WHERE 'requester' = ANY (m.roles)) AS colleague,
        min(m.user_id) FILTER (WHERE 'approver' = ANY (m.roles) AND m.approval_limit IS NULL) AS approver,
        min(m.user_id) FILTER (WHERE 'buyer' = ANY (m.roles)) AS buyer,
        min(m.user_id) FILTER (WHERE 'auditor' = ANY (m.roles)) AS auditor,
        min(m.user_id) FILTER (WHERE 'admin' = ANY (m.roles)) AS admin
    FROM members m JOIN suppliers s ON s.organisation_id = m.organisation_id AND s.is_active
    WHERE m.organisation_id > 1 GROUP BY 1 ORDER BY 1 LIMIT $1 OFFSET $2
"""


@dataclass(frozen=True)
class Reader:
    """A reading user, and some requests that are visible to them."""

    token: str
    role: str
    organisation_id: int
    porfs: Sequence[int]


@dataclass(frozen=True)
class MainJobUsers:
    """The tokens of the users of the main job in one organisation, the approvers in the order of their decisions, and
    of an auditor who follows its events."""

    requester: str
    approvers: Sequence[str]
    buyer: str
    auditor: str
    admin: str
    supplier_id: int


@dataclass(frozen=True)
class Place:
    """A row of a list by the values that the list is sorted by; a page begins after it."""

    created_at: datetime
    id: int
    position: int


@dataclass(frozen=True)
class Actors:
    """All users. `deep` is a late position in the list of the largest organisation, whose buyer is `largest`.

    `policy_users` are those of organisations that get a policy of three stages (`policies.py`). The requests of the
    first of these are only read, by `policy_readers`.
    """

    readers: Sequence[Reader]
    largest: Reader
    main_job_users: Sequence[MainJobUsers]
    policy_users: Sequence[MainJobUsers]
    policy_readers: Sequence[Reader]
    deep: Place
    rare_word: str
    common_word: str


async def sign_in_users(server: Server, key: str) -> Actors:
    """Find the users in the data, and sign them in."""
    async with connection(server.urls.owner) as owner:
        readers = [await _reader(owner, key, row) for row in await owner.fetch(_READERS)]
        main_job_users = [await _main_job_users(owner, key, row) for row in await owner.fetch(_CASTS, CASTS, 0)]
        policy_users = [
            await _main_job_users(owner, key, row, approvers=_POLICY_APPROVERS)
            for row in await owner.fetch(_CASTS, POLICY_CASTS, CASTS)
        ]
        largest = next(reader for reader in readers if reader.role == "buyer" and reader.organisation_id == 1)
        titles = await owner.fetch("SELECT title FROM porfs WHERE organisation_id = 1 ORDER BY id LIMIT 1000")
        words = [word for row in titles for word in row["title"].split()]
        models = sorted(word for word in set(words) if word[-4:].isdigit())
        common = max(sorted({word for word in words if word.isalpha()}), key=words.count)
        return Actors(readers, largest, main_job_users, policy_users, [], await _deep(owner), models[0], common)


async def _reader(owner: Any, key: str, row: Any) -> Reader:
    visible = "" if row["role"] != "requester" else f"AND requester_id = {row['user_id']}"
    porfs = await owner.fetch(
        f"SELECT id FROM porfs WHERE organisation_id = $1 {visible} AND submitted_at IS NOT NULL"
        " ORDER BY md5(id::text) LIMIT $2",
        row["organisation_id"],
        _PORFS_EACH,
    )
    token = await _sign_in(owner, key, row["user_id"])
    return Reader(token, row["role"], row["organisation_id"], [porf["id"] for porf in porfs])


async def _main_job_users(owner: Any, key: str, row: Any, *, approvers: Sequence[str] = ("approver",)) -> MainJobUsers:
    of_role = {role: await _sign_in(owner, key, row[role]) for role in _CAST}
    others = {role: of_role[role] for role in ("requester", "buyer", "auditor", "admin")}
    return MainJobUsers(**others, approvers=[of_role[role] for role in approvers], supplier_id=row["supplier_id"])


async def _sign_in(owner: Any, key: str, user_id: int) -> str:
    now = utc_now()
    session_id = await owner.fetchval(
        "INSERT INTO sessions (user_id, token, expires_at) VALUES ($1, $2, $3) RETURNING id",
        user_id,
        tokens.digest(tokens.new_secret()),
        now + LIFETIME,
    )
    return tokens.sign(tokens.AccessToken(user_id, session_id), key=key, issued_at=now, lifetime=LIFETIME)


async def _deep(owner: Any) -> Place:
    """The row at position 100,000, or the last that a full page follows."""
    count = await owner.fetchval("SELECT count(*) FROM porfs WHERE organisation_id = 1")
    position = min(DEEP, count - PAGE - 1)
    row = await owner.fetchrow(
        "SELECT created_at, id FROM porfs WHERE organisation_id = 1 ORDER BY created_at DESC, id DESC"
        " OFFSET $1 LIMIT 1",
        position - 1,
    )
    return Place(row["created_at"], row["id"], position)


def cursor_at(place: Place, given: str) -> str:
    """The cursor of the list after `place`, made from another cursor of the list."""
    binding = json.loads(urlsafe_b64decode(given + "=" * (-len(given) % 4)))[0]
    text = json.dumps([binding, place.created_at.isoformat(), str(place.id)])
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")
