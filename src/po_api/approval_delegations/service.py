"""Delegations: who may decide for whom, and when."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.approval_delegations.domain import MOST_DELEGATIONS, require_period
from po_api.approval_delegations.errors import (
    DelegationEnded,
    DelegationNotFound,
    TooManyDelegations,
    UnknownDelegate,
    UnknownDelegator,
)
from po_api.approval_delegations.events import Delegated, DelegationRevoked
from po_api.approval_delegations.models import ApprovalDelegation
from po_api.approval_delegations.queries import DelegationQueries, DelegationRow
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission, Role, may
from po_api.db.listeners import Listeners
from po_api.db.locks import lock_in_organisation
from po_api.db.query import TransactionExecutor
from po_api.members.errors import OwnRights
from po_api.members.service import rights_of


class DelegationService:
    """Adds and revokes delegations: approvers their own, admins all; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._session = session
        self._actor = actor
        self._listeners = listeners
        self._queries = DelegationQueries(TransactionExecutor(session), actor)

    async def add(
        self,
        *,
        delegate_id: int,
        starts_at: datetime | None,
        ends_at: datetime,
        reason: str | None = None,
        delegator_id: int | None = None,
    ) -> DelegationRow:
        """Add a delegation, by the actor and from now on unless stated otherwise.

        Raises MissingRole, OwnRights, UnknownDelegator, UnknownDelegate, InvalidDelegationPeriod or TooManyDelegations.
        """
        delegator = self._actor.member_id if delegator_id is None else delegator_id
        self._require_own(delegator)
        if delegate_id == self._actor.user_id != delegator:
            # With the delegator's limit, too.
            raise OwnRights
        now = utc_now()
        start = starts_at or now
        require_period(start, ends_at, now)
        await self._require_people(delegator, delegate_id)
        # Counted and added one after the other.
        await lock_in_organisation(self._session, "approval_delegations", self._actor.organisation_id)
        if await self._queries.count_open(delegator, now=now) >= MOST_DELEGATIONS:
            raise TooManyDelegations
        values = {"delegator_id": delegator, "delegate_id": delegate_id, "starts_at": start, "ends_at": ends_at}
        key = {"organisation_id": self._actor.organisation_id, "created_by_id": self._actor.member_id}
        delegation = ApprovalDelegation(**key, **values, reason=reason)
        self._session.add(delegation)
        await self._session.flush()
        await self._record("add", delegation, values)
        await self._listeners.notify(
            self._session, Delegated(self._actor, delegation.id, delegator, delegate_id, start, ends_at)
        )
        return await self._queries.get(delegation.id)

    async def revoke(self, delegation_id: int) -> DelegationRow:
        """End a delegation now. Raises DelegationNotFound, MissingRole or DelegationEnded."""
        await self._queries.get(delegation_id)
        key = (
            ApprovalDelegation.organisation_id == self._actor.organisation_id,
            ApprovalDelegation.id == delegation_id,
        )
        delegation = await self._session.scalar(select(ApprovalDelegation).where(*key).with_for_update())
        if delegation is None:
            raise DelegationNotFound
        self._require_own(delegation.delegator_id)
        now = utc_now()
        if delegation.revoked_at is not None or delegation.ends_at <= now:
            raise DelegationEnded
        delegation.revoked_at = now
        await self._session.flush()
        await self._record("revoke", delegation, {"revoked_at": now})
        await self._listeners.notify(self._session, DelegationRevoked(self._actor, delegation_id))
        return await self._queries.get(delegation_id)

    def _require_own(self, delegator_id: int) -> None:
        """Raise MissingRole unless the actor may decide on the delegator's delegations."""
        own = delegator_id == self._actor.user_id
        self._actor.require(Permission.DELEGATIONS_WRITE if own else Permission.DELEGATIONS_WRITE_ALL)

    async def _require_people(self, delegator_id: int, delegate_id: int) -> None:
        """Raise unless the one may delegate to the other. Both are locked, in the order of their ids."""
        roles = {user_id: await self._roles_of(user_id) for user_id in sorted({delegator_id, delegate_id})}
        if not may(roles[delegator_id], Permission.PORFS_DECIDE):
            raise UnknownDelegator.at("/delegator_id")
        stands_in = roles[delegate_id]
        if delegate_id == delegator_id or not stands_in or Role.AUDITOR in stands_in:
            raise UnknownDelegate.at("/delegate_id")

    async def _roles_of(self, user_id: int) -> frozenset[Role]:
        """The roles of a member, who is locked; none of one who is not active."""
        rights = await rights_of(self._session, self._actor, user_id)
        return frozenset(map(Role, rights.roles)) if rights is not None and rights.is_active else frozenset()

    async def _record(self, verb: str, delegation: ApprovalDelegation, after: dict[str, object]) -> None:
        change = audit.Change(f"approval_delegation.{verb}", "approval_delegation", delegation.id, None, after)
        await audit.record(self._session, self._actor, change)
