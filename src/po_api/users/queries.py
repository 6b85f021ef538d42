"""Reading users. The table is global: each query about members names the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Boolean, Text, bindparam, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.core.actor import Actor, Principal
from po_api.core.permissions import Role
from po_api.db.models import Timestamp
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect, Query, QueryExecutor, columns_for
from po_api.organisations import queries as organisations
from po_api.organisations.errors import OperatorsOnly
from po_api.organisations.models import Organisation
from po_api.organisations.queries import OrganisationRow
from po_api.users.errors import UserNotFound
from po_api.users.models import User

SORTS = ("created_at", "name")


class UserRow(NamedTuple):
    """A user with their rights in the organisation."""

    id: int
    email: str
    name: str
    organisation_id: int | None
    roles: list[str]
    approval_limit: Decimal | None
    is_active: bool
    is_operator: bool
    last_login: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


_USERS = User.__table__
_LIST = Listing("users.list", _USERS, UserRow, sorts=SORTS, default="created_at")
_PART = bindparam("q", type_=Text)
_CONDITIONS = {
    "email": User.email == bindparam("email", type_=Text),
    "roles": User.roles.overlap(bindparam("roles", type_=ARRAY(Text))),
    "is_active": User.is_active == bindparam("is_active", type_=Boolean),
    "q": or_(User.name.ilike(_PART, escape="\\"), User.email.ilike(_PART, escape="\\")),
}
_USER = select(*columns_for(UserRow, _USERS))
_IS_MEMBER = User.organisation_id == ORGANISATION_ID
_ANY = Query("users.get", _USER.where(User.id == USER_ID), UserRow)
_MEMBER = Query("users.member", _USER.where(_IS_MEMBER, User.id == USER_ID), UserRow)
_MEMBERS = Query("organisations.members", _USER.where(_IS_MEMBER).order_by(User.name, User.id), UserRow)


@dataclass(frozen=True)
class UserFilters:
    """The filters of a list of users; several values of one mean any of them."""

    email: str | None = None
    roles: tuple[Role, ...] = ()
    is_active: bool | None = None
    q: str | None = None

    def given(self) -> dict[str, object]:
        """The filters that are used, with their values as parameters."""
        part = None if self.q is None else f"%{_escaped(self.q)}%"
        values = {"email": self.email, "roles": list(self.roles) or None, "is_active": self.is_active, "q": part}
        return {name: value for name, value in values.items() if value is not None}


def _escaped(text: str) -> str:
    """`text` as a pattern of LIKE that matches only the text itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@dataclass(frozen=True)
class _Chosen:
    """The members of one organisation that fulfil the conditions of these names."""

    conditions: frozenset[str]

    def __call__(self) -> AnySelect:
        return select(_USERS).where(_IS_MEMBER, *(_CONDITIONS[name] for name in sorted(self.conditions)))


class UserQueries:
    """Reads the caller and the members of their organisation. Raises UserNotFound for all other users."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._executor = executor

    async def me(self, principal: Principal) -> UserRow:
        """The caller."""
        return _found(await self._executor.row(_ANY, user_id=principal.user_id))

    async def member(self, actor: Actor, user_id: int) -> UserRow:
        """A member of the actor's organisation."""
        return _found(await self._executor.row(_MEMBER, organisation_id=actor.organisation_id, user_id=user_id))

    async def page(self, actor: Actor, filters: UserFilters, request: PageRequest) -> PageOf[UserRow]:
        """Members of the actor's organisation."""
        given = filters.given()
        parameters = {"organisation_id": actor.organisation_id, **given}
        return await _LIST.page(self._executor, _Chosen(frozenset(given)), request, parameters)

    async def members(self, organisation_id: int) -> Sequence[UserRow]:
        """All members of an organisation, by name; the caller must have checked that it is visible."""
        return await self._executor.rows(_MEMBERS, organisation_id=organisation_id)

    async def organisations(
        self, principal: Principal, request: PageRequest, *, active_since: datetime | None
    ) -> PageOf[OrganisationRow]:
        """All organisations, for operators; with `active_since`, those with a member who has signed in since then."""
        if not principal.is_operator:
            raise OperatorsOnly
        chosen = _all_organisations if active_since is None else _active_organisations
        return await organisations.LIST.page(self._executor, chosen, request, {"active_since": active_since})


def _all_organisations() -> AnySelect:
    return select(organisations.ORGANISATIONS)


def _active_organisations() -> AnySelect:
    signed_in = User.last_login >= bindparam("active_since", type_=Timestamp)
    return _all_organisations().where(Organisation.users.any(signed_in))


def _found(user: UserRow | None) -> UserRow:
    if user is None:
        raise UserNotFound
    return user
