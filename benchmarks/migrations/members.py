"""The revisions that separate members from accounts, all at once, while people sign in and rights are changed.

A database of the version before is migrated to head. Until `po-api migrate` has ended, sessions are checked and roles
changed by statements of that version, then by those of this one. Afterwards the check of this version must accept the
same sessions with the rights that were stored last.
"""

import asyncio
import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import uvloop
from sqlalchemy import BigInteger, and_, bindparam, func, select

import po_api.tables  # noqa: F401 - all entities, before a query is compiled
from benchmarks.database import Server, connection, empty_server
from benchmarks.migrations.command import migrate
from benchmarks.migrations.load import WORKERS, Measurement, Worker, WrongResult, load_alone, under_load, workers
from benchmarks.progress import say
from po_api.db.query import USER_ID, Query
from po_api.operations import migrations, revisions
from po_api.sessions.domain import USUAL_LIFETIMES
from po_api.sessions.models import UserSession
from po_api.sessions.queries import live
from po_api.users.projections import PRINCIPAL_COLUMNS, are_valid, with_rights

USERS = 10_000
USERS_PER_ORGANISATION = 10
BEFORE = "014"
# The new version serves for a while after the migration.
_DEPLOYED_SECONDS = 3
_ROLES = ("requester", "approver", "buyer", "auditor")

# At the revision before. One user in a hundred is inactive, and as many more are in no organisation. Each user has a
# live, an expired and a revoked session, and each member has made a request.
_ROWS = (
    "INSERT INTO organisations (name) SELECT 'Company ' || n FROM generate_series(1, {organisations}) n ORDER BY n",
    """
    INSERT INTO users (email, name, organisation_id, roles, approval_limit, is_active)
    SELECT 'user' || n || '@company.example', 'User ' || n,
        CASE WHEN n <= {users} THEN 1 + (n - 1) % {organisations} END,
        ARRAY[CASE (n - 1) / {organisations} WHEN 0 THEN 'admin' WHEN 1 THEN 'approver' ELSE 'requester' END],
        CASE (n - 1) / {organisations} WHEN 1 THEN 5000 END,
        n % 100 > 0
    FROM generate_series(1, {users} + {users} / 100) n ORDER BY n
    """,
    """
    INSERT INTO sessions (user_id, token, expires_at, revoked_at)
    SELECT u.id, encode(sha256(convert_to(u.id || state, 'UTF8')), 'hex'),
        now() + CASE state WHEN 'expired' THEN interval '-1 day' ELSE interval '20 days' END,
        CASE state WHEN 'revoked' THEN now() END
    FROM users u, unnest(ARRAY['live', 'expired', 'revoked']) state
    """,
    "INSERT INTO porfs (organisation_id, number, title, requester_id)"
    " SELECT organisation_id, 'A' || id, 'Made before', id FROM users WHERE organisation_id IS NOT NULL",
    "INSERT INTO audit_events (organisation_id, actor_id, actor_kind, action, entity, entity_id, created_at)"
    " SELECT organisation_id, requester_id, 'member', 'porf.create', 'porf', id, created_at FROM porfs",
)

# The session check of the version before, without what only depends on the time of the last use.
_ACCEPTED_BEFORE = """
    SELECT s.id, u.id AS user_id, u.organisation_id, u.roles, u.approval_limit, u.is_operator,
        set_config('app.organisation_id', coalesce(u.organisation_id::text, ''), true) AS tenant
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.revoked_at IS NULL AND s.expires_at > now()
        AND coalesce(s.last_seen_at, s.created_at) > now() - interval '7 days' AND u.is_active
"""
_CHECK_BEFORE = f"{_ACCEPTED_BEFORE} AND s.id = $1 AND s.user_id = $2"
_CHANGE_BEFORE = "UPDATE users SET roles = $1, version = version + 1, updated_at = now() WHERE id = $2 RETURNING id"
_CHANGE = (
    "UPDATE members SET roles = $1, version = version + 1, updated_at = now() WHERE user_id = $2"
    " AND organisation_id = $3 RETURNING user_id"
)
_ENTER = "SELECT set_config('app.organisation_id', $1, true)"
_SESSIONS = UserSession.__table__


class Accepted(NamedTuple):
    """A session that the check accepts, with the user's rights."""

    id: int
    user_id: int
    organisation_id: int | None
    roles: list[str] | None
    approval_limit: Decimal | None
    is_operator: bool
    credentials_version: int
    tenant: str


# The session check of this version, of all sessions and of one.
_IS_ACCEPTED = and_(live(func.now(), func.now() - USUAL_LIFETIMES.idle), are_valid(_SESSIONS))
_ALL = select(UserSession.id, *PRINCIPAL_COLUMNS).select_from(with_rights(_SESSIONS)).where(_IS_ACCEPTED)
_ACCEPTED = Query("benchmark.accepted", _ALL, Accepted)
_CHECK = Query(
    "benchmark.check",
    _ALL.where(UserSession.id == bindparam("session_id", type_=BigInteger), UserSession.user_id == USER_ID),
    Accepted,
)


class Rights(NamedTuple):
    """The user of a session and their rights: none without an organisation, although the version before stores some."""

    user_id: int
    organisation_id: int | None
    roles: tuple[str, ...]
    approval_limit: Decimal | None

    @classmethod
    def of(cls, row: Any) -> "Rights":
        if row["organisation_id"] is None:
            return cls(row["user_id"], None, (), None)
        return cls(row["user_id"], row["organisation_id"], tuple(row["roles"]), row["approval_limit"])


@dataclass
class People:
    """The users of the load: their rights by session before the migration, and the roles that were stored since.

    `refused` are statements of the version before that failed after the `contracting` revision, as they must.
    """

    rights: Mapping[int, Rights]
    contracting: str
    roles: dict[int, tuple[str, ...]] = field(default_factory=dict)
    is_deployed: bool = False
    refused: Counter[str] = field(default_factory=Counter)

    def expected(self, session_id: int) -> Rights:
        before = self.rights[session_id]
        return before._replace(roles=self.roles.get(before.user_id, before.roles))


@dataclass(frozen=True)
class MembersMeasurement:
    """The migration from `before` to `head`, and what became of the sessions and of the changes of rights.

    `wrong_rights` are sessions whose user has other rights than were stored last; `refused` as in `People`.
    """

    before: str
    head: str
    contracting: str
    users: int
    organisations: int
    seconds: Mapping[str, float]
    load: Measurement
    accepted_before: int
    accepted_after: int
    signed_out: int
    signed_in: int
    changed: int
    wrong_rights: int
    refused: Mapping[str, int]

    @property
    def met(self) -> bool:
        return self.load.met and not self.signed_out and not self.signed_in and not self.wrong_rights


class _PeopleWorker(Worker):
    """Half of its statements are about a user."""

    def __init__(self, connection: Any, organisation: int, statements: Sequence[str], *, people: People) -> None:
        super().__init__(connection, organisation, statements)
        self._people = people

    async def _once(self) -> None:
        await (self._about_user() if random.random() < 0.5 else super()._once())

    @abstractmethod
    async def _about_user(self) -> None:
        """Execute a statement about a user."""

    async def _of_version_before(self, name: str, statement: str, *arguments: object) -> bool:
        """Execute a statement that has to find a row; False if the contracting revision has made it invalid."""
        try:
            self._require(name, await self._connection.fetchrow(statement, *arguments))
        except asyncpg.UndefinedColumnError as error:
            if await self._connection.fetchval("SELECT version_num FROM alembic_version") < self._people.contracting:
                raise
            reason = str(error).partition("\n")[0]
            self._people.refused[f"{name}: {reason}"] += 1
            return False
        return True

    @staticmethod
    def _require(name: str, row: object) -> None:
        if row is None:
            raise WrongResult(f"{name} finds nothing")


class SessionChecker(_PeopleWorker):
    """Checks sessions that are accepted before the migration."""

    def __init__(self, connection: Any, organisation: int, statements: Sequence[str], *, people: People) -> None:
        super().__init__(connection, organisation, statements, people=people)
        self._sessions = list(people.rights)

    async def _about_user(self) -> None:
        session_id = random.choice(self._sessions)
        user_id = self._people.rights[session_id].user_id
        if self._people.is_deployed:
            arguments = _CHECK.arguments({"session_id": session_id, "user_id": user_id})
            self._require("session check", await self._connection.fetchrow(_CHECK.sql, *arguments))
        else:
            await self._of_version_before("session check", _CHECK_BEFORE, session_id, user_id)


class RightsChanger(_PeopleWorker):
    """Changes the roles of its share of the members, so that the last stored ones are known."""

    def __init__(self, connection: Any, organisation: int, statements: Sequence[str], *, people: People) -> None:
        super().__init__(connection, organisation, statements, people=people)
        mine = [rights for rights in people.rights.values() if rights.user_id % WORKERS == organisation % WORKERS]
        self._members = [rights for rights in mine if rights.organisation_id is not None]

    async def _about_user(self) -> None:
        member, roles = random.choice(self._members), (random.choice(_ROLES),)
        if self._people.is_deployed:
            await self._change(member, roles)
        elif not await self._of_version_before("change of rights", _CHANGE_BEFORE, roles, member.user_id):
            return
        self._people.roles[member.user_id] = roles

    async def _change(self, member: Rights, roles: tuple[str, ...]) -> None:
        async with self._connection.transaction():
            await self._connection.execute(_ENTER, str(member.organisation_id))
            changed = await self._connection.fetchrow(_CHANGE, roles, member.user_id, member.organisation_id)
        self._require("change of rights", changed)


def measure_members(users: int) -> MembersMeasurement:
    """Migrate a database of the version before with this number of users, in a tenth as many organisations."""
    with empty_server() as server:
        return uvloop.run(_measure(server, users))


async def _measure(server: Server, users: int) -> MembersMeasurement:
    organisations = users // USERS_PER_ORGANISATION
    say(f"{users:,} users in {organisations:,} organisations: migrating to {BEFORE}, loading")
    await migrations.upgrade(owner_url=server.urls.owner, app_url=server.urls.app, to=BEFORE)
    async with connection(server.urls.owner) as owner:
        for statement in _ROWS:
            await owner.execute(statement.format(users=users, organisations=organisations))
        await owner.execute("VACUUM ANALYZE")
        people = People(await _accepted(owner, _ACCEPTED_BEFORE), _contracting())
        present = partial(
            workers, server, partial(SessionChecker, people=people), partial(RightsChanger, people=people)
        )
        alone = await load_alone(present())
        seconds, load = await under_load(present(), partial(_migrate_and_deploy, server, people))
        after = await _accepted(owner, _ACCEPTED.sql)
    head = revisions.head_revision()
    both = people.rights.keys() & after.keys()
    return MembersMeasurement(
        before=BEFORE,
        head=head,
        contracting=people.contracting,
        users=users,
        organisations=organisations,
        seconds=seconds,
        load=Measurement.of(f"{BEFORE} to {head}", "members and accounts", sum(seconds.values()), alone, load),
        accepted_before=len(people.rights),
        accepted_after=len(after),
        signed_out=len(people.rights) - len(both),
        signed_in=len(after) - len(both),
        changed=len(people.roles),
        wrong_rights=sum(after[session] != people.expected(session) for session in both),
        refused=dict(people.refused),
    )


async def _migrate_and_deploy(server: Server, people: People) -> Mapping[str, float]:
    seconds = await migrate(server, revisions.PROJECT, revisions.head_revision())
    people.is_deployed = True
    await asyncio.sleep(_DEPLOYED_SECONDS)
    return seconds


async def _accepted(owner: Any, statement: str) -> Mapping[int, Rights]:
    """The users' rights by the accepted session."""
    return {row["id"]: Rights.of(row) for row in await owner.fetch(statement)}


def _contracting() -> str:
    """The first revision after BEFORE that the version before does not work with."""
    later = (revision for revision in revisions.chain() if revision.name > BEFORE)
    return next(revision.name for revision in later if revision.compatible_since > BEFORE)
