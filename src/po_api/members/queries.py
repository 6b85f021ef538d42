"""Reading an organisation's invitations."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, FromClause, Text, any_, bindparam, case, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission
from po_api.db.filters import Filters, attribute_of, compare, condition
from po_api.db.models import Timestamp
from po_api.db.pagination import Counts, Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, Query, QueryExecutor
from po_api.members.domain import InvitationStatus
from po_api.members.errors import InvitationNotFound
from po_api.members.models import Invitation
from po_api.members.projections import member_name

SORTS = ("created_at",)


class InvitationRow(NamedTuple):
    """An invitation."""

    id: int
    email: str
    roles: list[str]
    approval_limit: Decimal | None
    invited_by_id: int
    invited_by_name: str
    expires_at: datetime
    accepted_at: datetime | None
    declined_at: datetime | None
    revoked_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


def _show(rows: FromClause) -> AnySelect:
    inviter = member_name(rows.c.invited_by_id).label("invited_by_name")
    return select(*(inviter if name == inviter.name else rows.c[name] for name in InvitationRow._fields))


_INVITATIONS = Invitation.__table__
_NOW = bindparam("now", type_=Timestamp)
_STATUS = case(
    (Invitation.accepted_at.is_not(None), InvitationStatus.ACCEPTED.value),
    (Invitation.declined_at.is_not(None), InvitationStatus.DECLINED.value),
    (Invitation.revoked_at.is_not(None), InvitationStatus.REVOKED.value),
    (Invitation.expires_at > _NOW, InvitationStatus.OPEN.value),
    else_=InvitationStatus.EXPIRED.value,
)
_LIST = Listing(
    "invitations.list",
    _INVITATIONS,
    InvitationRow,
    sorts=SORTS,
    default="-created_at",
    show=_show,
    groups={"status": type_coerce(_STATUS, Text)},
)
_IS_OWN = Invitation.organisation_id == ORGANISATION_ID
_ONE = Query(
    "invitations.get",
    _show(_INVITATIONS).where(_IS_OWN, Invitation.id == bindparam("invitation_id", type_=BigInteger)),
    InvitationRow,
)


@dataclass(frozen=True)
class _Chosen:
    """The invitations of one organisation that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        return select(_INVITATIONS).where(_IS_OWN, *map(_condition, sorted(self.narrowed_by)))


def _condition(name: str) -> ColumnElement[bool]:
    match attribute_of(name):
        case "status":
            return compare(type_coerce(_STATUS, Text), name)
        case "role":
            one_role, roles = bindparam(name, type_=Text), bindparam(name, type_=ARRAY(Text))
            return one_role == any_(Invitation.roles) if name == "role" else Invitation.roles.overlap(roles)
        case _:
            return condition(_INVITATIONS, name)


class InvitationQueries:
    """Reads the invitations of the actor's organisation (admins)."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[InvitationRow]:
        chosen, parameters = await self._enter_for(filters)
        return await _LIST.page(self._executor, chosen, request, parameters)

    async def counts(self, filters: Filters, group_by: str) -> Counts:
        """The numbers of invitations for each value of a column."""
        chosen, parameters = await self._enter_for(filters)
        return await _LIST.counts(self._executor, chosen, group_by, parameters)

    async def get(self, invitation_id: int) -> InvitationRow:
        """Raises InvitationNotFound."""
        await self._enter()
        found = await self._executor.row(_ONE, organisation_id=self._actor.organisation_id, invitation_id=invitation_id)
        if found is None:
            raise InvitationNotFound
        return found

    async def _enter_for(self, filters: Filters) -> tuple[_Chosen, dict[str, object]]:
        """Enter the tenant for a list; returns its invitations, and the parameters of its filters."""
        await self._enter()
        given = filters.parameters()
        parameters = {"organisation_id": self._actor.organisation_id, "now": utc_now(), **given}
        return _Chosen(frozenset(given)), parameters

    async def _enter(self) -> None:
        self._actor.require(Permission.USERS_MANAGE)
        await self._executor.enter_tenant(self._actor.organisation_id)
