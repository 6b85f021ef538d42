"""Reading delegations."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    Text,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
)

from po_api.approval_delegations.domain import DelegationWarning
from po_api.approval_delegations.errors import DelegationNotFound
from po_api.approval_delegations.models import ApprovalDelegation
from po_api.approval_delegations.projections import covers
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission
from po_api.db.filters import Filters, condition
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect, Query, QueryExecutor
from po_api.members.projections import member_may, member_name

SORTS = ("starts_at",)
# The filter by a time at which delegations are in effect.
ACTIVE_AT = "active_at"


class DelegationRow(NamedTuple):
    """A delegation."""

    id: int
    delegator_id: int
    delegator_name: str
    delegate_id: int
    delegate_name: str
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    created_by_id: int
    revoked_at: datetime | None
    warning: str | None


class _Total(NamedTuple):
    total: int


_DELEGATIONS = ApprovalDelegation.__table__
_IS_OF_ORGANISATION = ApprovalDelegation.organisation_id == ORGANISATION_ID
_IS_OWN = or_(ApprovalDelegation.delegator_id == USER_ID, ApprovalDelegation.delegate_id == USER_ID)
_AT = bindparam(ACTIVE_AT, type_=DateTime(timezone=True))
_NOW = bindparam("now", type_=DateTime(timezone=True))


def _show(delegations: FromClause) -> AnySelect:
    c = delegations.c
    computed = {f"{who}_name": member_name(c[f"{who}_id"]) for who in ("delegator", "delegate")}
    computed["warning"] = _warning(delegations)
    return select(*(computed[name].label(name) if name in computed else c[name] for name in DelegationRow._fields))


def _warning(delegations: FromClause) -> ColumnElement[str]:
    c = delegations.c
    decides = member_may(Permission.PORFS_DECIDE, c.delegate_id)
    is_over = or_(c.revoked_at.is_not(None), c.ends_at <= _NOW)
    warning = literal_column(f"'{DelegationWarning.DELEGATE_MAY_NOT_DECIDE}'", Text)
    return case((or_(is_over, decides), null()), else_=warning)


_LIST = Listing("approval_delegations.list", _DELEGATIONS, DelegationRow, sorts=SORTS, default="-starts_at", show=_show)
_OPEN = Query(
    "approval_delegations.open",
    select(func.count().label("total"))
    .select_from(_DELEGATIONS)
    .where(
        _IS_OF_ORGANISATION,
        ApprovalDelegation.delegator_id == bindparam("delegator_id", type_=BigInteger),
        ApprovalDelegation.revoked_at.is_(None),
        ApprovalDelegation.ends_at > _NOW,
    ),
    _Total,
)


@dataclass(frozen=True)
class _Chosen:
    """The delegations of one organisation, or only the member's own, that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]
    only_own: bool

    def __call__(self) -> AnySelect:
        conditions = [condition(_DELEGATIONS, name) for name in sorted(self.narrowed_by - {ACTIVE_AT})]
        if ACTIVE_AT in self.narrowed_by:
            conditions += [
                covers(_DELEGATIONS, _AT),
                or_(_DELEGATIONS.c.revoked_at.is_(None), _DELEGATIONS.c.revoked_at > _AT),
            ]
        if self.only_own:
            conditions.append(_IS_OWN)
        return select(_DELEGATIONS).where(_IS_OF_ORGANISATION, *conditions)


def _one(*, only_own: bool) -> Query[DelegationRow]:
    visible = (_IS_OF_ORGANISATION, _IS_OWN) if only_own else (_IS_OF_ORGANISATION,)
    statement = _show(_DELEGATIONS).where(
        *visible, ApprovalDelegation.id == bindparam("delegation_id", type_=BigInteger)
    )
    return Query(f"approval_delegations.get{'_own' if only_own else ''}", statement, DelegationRow)


_ONE = {only_own: _one(only_own=only_own) for only_own in (False, True)}


class DelegationQueries:
    """Reads the delegations that the member may see: by and to themselves; admins and auditors all."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id
        self._only_own = not actor.may(Permission.DELEGATIONS_READ_ALL)
        self._seen_by = {"organisation_id": actor.organisation_id}
        if self._only_own:
            self._seen_by["user_id"] = actor.member_id

    async def get(self, delegation_id: int) -> DelegationRow:
        """A delegation. Raises DelegationNotFound."""
        await self._executor.enter_tenant(self._organisation_id)
        parameters = {**self._seen_by, "delegation_id": delegation_id, "now": utc_now()}
        found = await self._executor.row(_ONE[self._only_own], **parameters)
        if found is None:
            raise DelegationNotFound
        return found

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[DelegationRow]:
        given = filters.parameters()
        await self._executor.enter_tenant(self._organisation_id)
        chosen = _Chosen(frozenset(given), self._only_own)
        return await _LIST.page(self._executor, chosen, request, {**self._seen_by, **given, "now": utc_now()})

    async def count_open(self, delegator_id: int, *, now: datetime) -> int:
        """How many delegations of a member are not revoked and have not ended."""
        counted = await self._executor.row(
            _OPEN, organisation_id=self._organisation_id, delegator_id=delegator_id, now=now
        )
        assert counted is not None
        return counted.total
