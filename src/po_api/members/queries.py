"""Reading an organisation's invitations."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, FromClause, Text, and_, bindparam, not_, or_, select

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission
from po_api.db.models import Timestamp
from po_api.db.pagination import Listing, PageOf, PageRequest
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
_LIST = Listing("invitations.list", _INVITATIONS, InvitationRow, sorts=SORTS, default="-created_at", show=_show)
_NOW = bindparam("now", type_=Timestamp)
_UNANSWERED = and_(*(_INVITATIONS.c[name].is_(None) for name in ("accepted_at", "declined_at", "revoked_at")))
_IS = {
    InvitationStatus.OPEN: and_(_UNANSWERED, Invitation.expires_at > _NOW),
    InvitationStatus.EXPIRED: and_(_UNANSWERED, not_(Invitation.expires_at > _NOW)),
    InvitationStatus.ACCEPTED: Invitation.accepted_at.is_not(None),
    InvitationStatus.DECLINED: Invitation.declined_at.is_not(None),
    InvitationStatus.REVOKED: Invitation.revoked_at.is_not(None),
}
_IS_OWN = Invitation.organisation_id == ORGANISATION_ID
_ONE = Query(
    "invitations.get",
    _show(_INVITATIONS).where(_IS_OWN, Invitation.id == bindparam("invitation_id", type_=BigInteger)),
    InvitationRow,
)


@dataclass(frozen=True)
class InvitationFilters:
    """The filters of a list of invitations; several statuses mean any of them."""

    statuses: tuple[InvitationStatus, ...] = ()
    email: str | None = None


@dataclass(frozen=True)
class _Chosen:
    """The organisation's invitations in one of these states, of an address if one is given."""

    statuses: tuple[InvitationStatus, ...]
    has_address: bool

    def __call__(self) -> AnySelect:
        chosen = select(_INVITATIONS).where(_IS_OWN)
        if self.statuses:
            chosen = chosen.where(or_(*(_IS[status] for status in self.statuses)))
        return chosen.where(Invitation.email == bindparam("email", type_=Text)) if self.has_address else chosen


class InvitationQueries:
    """Reads the invitations of the actor's organisation (admins)."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor

    async def page(self, filters: InvitationFilters, request: PageRequest) -> PageOf[InvitationRow]:
        await self._enter()
        chosen = _Chosen(tuple(sorted(set(filters.statuses))), filters.email is not None)
        parameters = {"organisation_id": self._actor.organisation_id, "now": utc_now(), "email": filters.email}
        return await _LIST.page(self._executor, chosen, request, parameters)

    async def get(self, invitation_id: int) -> InvitationRow:
        """Raises InvitationNotFound."""
        await self._enter()
        found = await self._executor.row(_ONE, organisation_id=self._actor.organisation_id, invitation_id=invitation_id)
        if found is None:
            raise InvitationNotFound
        return found

    async def _enter(self) -> None:
        self._actor.require(Permission.USERS_MANAGE)
        await self._executor.enter_tenant(self._actor.organisation_id)
