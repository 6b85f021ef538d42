"""Reading users: the caller, their invitations, and the members of their organisation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, Boolean, ColumnElement, Text, any_, bindparam, cast, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.core.actor import Actor, Principal
from po_api.core.permissions import Permission
from po_api.db.filters import Filters, condition
from po_api.db.models import Amount, Timestamp
from po_api.db.pagination import Counts, Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect, Query, QueryExecutor, columns_for
from po_api.db.search import containing, contains
from po_api.members.errors import UserNotFound
from po_api.members.models import Member
from po_api.members.projections import member_is_active
from po_api.organisations import queries as organisations
from po_api.organisations.errors import OperatorsOnly
from po_api.organisations.models import Organisation
from po_api.organisations.queries import OrganisationRow
from po_api.users.models import User

SORTS = ("created_at", "name", "updated_at")


class MemberRow(NamedTuple):
    """A member of an organisation; `id` is the user's."""

    id: int
    email: str
    name: str
    organisation_id: int
    roles: list[str]
    approval_limit: Decimal | None
    is_active: bool
    joined_at: datetime
    left_at: datetime | None
    team_id: int | None
    manager_id: int | None
    default_cost_centre_id: int | None
    version: int
    created_at: datetime
    updated_at: datetime


class AccountRow(NamedTuple):
    """An account."""

    id: int
    email: str
    name: str
    organisation_id: int | None
    is_active: bool
    is_operator: bool
    last_login: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


class OpenInvitation(NamedTuple):
    """An open invitation, as shown to the invited person."""

    id: int
    organisation_id: int
    organisation_name: str
    roles: list[str]
    approval_limit: Decimal | None
    invited_by_name: str
    expires_at: datetime
    version: int


class _LastLogin(NamedTuple):
    id: int
    last_login: datetime | None


@dataclass(frozen=True)
class ShownMember:
    """A member, and when they signed in last; `shows_rights`: whether the reader may see that, and the limit."""

    member: MemberRow
    last_login: datetime | None
    shows_rights: bool


_USERS = User.__table__
_MEMBERS = (
    select(Member.user_id.label("id"), *(Member.__table__.c[name] for name in MemberRow._fields if name != "id"))
    .where(Member.organisation_id == ORGANISATION_ID)
    .subquery("members_of_organisation")
)
_COLUMNS = _MEMBERS.c
_LIST = Listing("users.list", _MEMBERS, MemberRow, sorts=SORTS, default="created_at")
_PART = bindparam("q", type_=Text)
_CONDITIONS = {
    "role": bindparam("role", type_=Text) == any_(_COLUMNS.roles),
    "role_any": _COLUMNS.roles.overlap(bindparam("role_any", type_=ARRAY(Text))),
    "q": contains(_PART, _COLUMNS.name, _COLUMNS.email),
    "manager_is_active": member_is_active(_COLUMNS.manager_id) == bindparam("manager_is_active", type_=Boolean),
}
_ACCOUNT = Query("users.account", select(*columns_for(AccountRow, _USERS)).where(User.id == USER_ID), AccountRow)
# Sent as texts: the driver knows their array type from the roles, and would have to look up another one's.
_USER_IDS = cast(bindparam("user_ids", type_=ARRAY(Text)), ARRAY(BigInteger))
_LAST_LOGINS = Query(
    "users.last_logins",
    # What an account does in another organisation is not shown in this one.
    select(User.id, User.last_login).where(User.id == any_(_USER_IDS), User.organisation_id == ORGANISATION_ID),
    _LastLogin,
)
_MEMBER = Query("users.get", select(*columns_for(MemberRow, _MEMBERS)).where(_COLUMNS.id == USER_ID), MemberRow)
_ALL_MEMBERS = Query(
    "organisations.members",
    select(*columns_for(MemberRow, _MEMBERS)).order_by(_COLUMNS.name, _COLUMNS.id),
    MemberRow,
)
# A function, since row-level security shows the invitations of one organisation at a time.
_INVITATIONS = func.open_invitations(User.email, bindparam("invitation_id", type_=BigInteger)).table_valued(
    column("id", BigInteger),
    column("organisation_id", BigInteger),
    column("organisation_name", Text),
    column("roles", ARRAY(Text)),
    column("approval_limit", Amount),
    column("invited_by_name", Text),
    column("expires_at", Timestamp),
    column("version", BigInteger),
    name="invitation",
)
# The latest of them, or the one with the id `invitation_id`.
OPEN_INVITATIONS = Query(
    "users.invitations",
    select(*_INVITATIONS.c)
    .select_from(_USERS.join(_INVITATIONS, User.id == USER_ID))
    .order_by(_INVITATIONS.c.expires_at.desc(), _INVITATIONS.c.id.desc()),
    OpenInvitation,
)


def _parameters(filters: Filters) -> dict[str, object]:
    given = filters.parameters()
    return {**given, "q": containing(str(given["q"]))} if "q" in given else given


@dataclass(frozen=True)
class _Chosen:
    """The members of one organisation that fulfil the conditions of these names."""

    conditions: frozenset[str]

    def __call__(self) -> AnySelect:
        return select(_MEMBERS).where(*(self._condition(name) for name in sorted(self.conditions)))

    @staticmethod
    def _condition(name: str) -> ColumnElement[bool]:
        return _CONDITIONS[name] if name in _CONDITIONS else condition(_MEMBERS, name)


class UserQueries:
    """Reads the caller and the members of their organisation. Raises UserNotFound for all other users."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._executor = executor

    async def me(self, principal: Principal) -> tuple[AccountRow, MemberRow | None]:
        """The caller's account, and what they are in the organisation that they are in now."""
        if principal.organisation_id is not None:
            await self._executor.enter_tenant(principal.organisation_id)
        account = await self._executor.row(_ACCOUNT, user_id=principal.user_id)
        if account is None:
            raise UserNotFound
        if account.organisation_id is None:
            return account, None
        member = await self._executor.row(_MEMBER, organisation_id=account.organisation_id, user_id=account.id)
        return account, member

    async def invitations(self, principal: Principal) -> Sequence[OpenInvitation]:
        """The open invitations of the caller's address, the latest first."""
        return await self._executor.rows(OPEN_INVITATIONS, user_id=principal.user_id, invitation_id=None)

    async def member(self, actor: Actor, user_id: int) -> ShownMember:
        """A member of the actor's organisation, or a former one."""
        await self._executor.enter_tenant(actor.organisation_id)
        found = await self._executor.row(_MEMBER, organisation_id=actor.organisation_id, user_id=user_id)
        if found is None:
            raise UserNotFound
        (shown,) = await self._shown(actor, [found])
        return shown

    async def counts(self, actor: Actor, filters: Filters, group_by: str) -> Counts:
        """The numbers of members for each value of a column."""
        await self._executor.enter_tenant(actor.organisation_id)
        given = _parameters(filters)
        parameters = {"organisation_id": actor.organisation_id, **given}
        return await _LIST.counts(self._executor, _Chosen(frozenset(given)), group_by, parameters)

    async def page(self, actor: Actor, filters: Filters, request: PageRequest) -> PageOf[ShownMember]:
        """Members of the actor's organisation, former ones included."""
        await self._executor.enter_tenant(actor.organisation_id)
        given = _parameters(filters)
        parameters = {"organisation_id": actor.organisation_id, **given}
        page = await _LIST.page(self._executor, _Chosen(frozenset(given)), request, parameters)
        return PageOf(await self._shown(actor, page.items), page.next_cursor)

    async def members(self, principal: Principal, organisation_id: int) -> Sequence[ShownMember]:
        """All members of an organisation, by name; the caller must have checked that it is visible.

        An operator, who is no member, sees no limits.
        """
        await self._executor.enter_tenant(organisation_id)
        members = await self._executor.rows(_ALL_MEMBERS, organisation_id=organisation_id)
        if principal.organisation_id == organisation_id:
            return await self._shown(principal.actor(), members)
        return [ShownMember(member, None, shows_rights=False) for member in members]

    async def organisations(
        self, principal: Principal, request: PageRequest, *, active_since: datetime | None
    ) -> PageOf[OrganisationRow]:
        """All organisations, for operators; with `active_since`, those with a member who has signed in since then."""
        if not principal.is_operator:
            raise OperatorsOnly
        chosen = _all_organisations if active_since is None else _active_organisations
        return await organisations.LIST.page(self._executor, chosen, request, {"active_since": active_since})

    async def _shown(self, actor: Actor, members: Sequence[MemberRow]) -> Sequence[ShownMember]:
        """The members, with what the actor may see of each."""
        sees_all = actor.may(Permission.USERS_READ_RIGHTS)
        visible = {member.id for member in members if sees_all or member.id == actor.user_id}
        last_logins = await self._last_logins(actor.organisation_id, visible)
        return [ShownMember(member, last_logins.get(member.id), member.id in visible) for member in members]

    async def _last_logins(self, organisation_id: int, user_ids: Iterable[int]) -> dict[int, datetime | None]:
        """A query of its own: accounts may be on another server than members. Without those that have left."""
        found = [str(user_id) for user_id in user_ids]
        if not found:
            return {}
        parameters = {"organisation_id": organisation_id, "user_ids": found}
        return {row.id: row.last_login for row in await self._executor.rows(_LAST_LOGINS, **parameters)}


def _all_organisations() -> AnySelect:
    return select(organisations.ORGANISATIONS)


def _active_organisations() -> AnySelect:
    signed_in = User.last_login >= bindparam("active_since", type_=Timestamp)
    return _all_organisations().where(Organisation.users.any(signed_in))
