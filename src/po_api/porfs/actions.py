"""The actions on a request: submit, decide, cancel, close … One method performs every action of the table."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.approvals.domain import Decision, RunStatus
from po_api.approvals.eligibility import Approver, authors_of, excess
from po_api.approvals.errors import OverApprovalLimit
from po_api.approvals.writes import RunWrites
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.money import in_base_currency
from po_api.core.permissions import Permission, Role, may
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor
from po_api.exchange_rates.domain import NO_BASE_AMOUNTS, base_amounts, recorded
from po_api.exchange_rates.errors import RateMissing
from po_api.members.service import rights_of
from po_api.porfs import errors
from po_api.porfs.approving import ENDS, PorfApprovals, accepts, approval_event
from po_api.porfs.domain import (
    DECISIONS,
    MACHINE,
    NEW_ROUND,
    LineQuantities,
    PorfAction,
    PorfFacts,
    PorfStatus,
    remaining,
)
from po_api.porfs.queries import LockedPorf
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import PorfRepository, state_of
from po_api.structure.service import StructureService


class PorfActions:
    """Performs transitions; each writes the row and one audit event in the caller's transaction, and tells the
    `listeners`."""

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._session = session
        self._actor = actor
        self._listeners = listeners
        self._repository = PorfRepository(session, actor)
        self._porfs = PorfReadService(TransactionExecutor(session), actor)
        self._approvals = PorfApprovals(session, actor)
        self._structure = StructureService(session, actor)

    async def perform(
        self,
        action: PorfAction,
        porf_id: int,
        *,
        expected: ExpectedVersions,
        comment: str | None = None,
        step_id: int | None = None,
    ) -> JsonDocument:
        """Perform `action`, or raise the error that `allowed_actions` shows for it.

        The guards are checked before the version: after a lost race the response has the reason (409), not an outdated
        ETag (412). A decision is about the steps that ask the actor, or the one with `step_id`.
        """
        if action in DECISIONS:
            return await self._decide(action, porf_id, expected=expected, comment=comment, step_id=step_id)
        porf = await self._locked(porf_id)
        facts = await self._porfs.facts(porf_id)
        await self._require(action, porf_id, facts, self._actor)
        require_version(porf.version, expected)
        now = utc_now()
        after = _state_after(action, porf, facts, self._actor, now)
        opened, changed = None, None
        if action is PorfAction.SUBMIT:
            after["cost_centre_id"] = await self._cost_centre(porf)
            opened = await self._submit(porf, facts, after, now)
        elif porf.status == PorfStatus.PENDING and action in ENDS:
            run = await self._approvals.open_run(porf, now)
            changed = self._approvals.end(run, ENDS[action], now).change
        await self._repository.change(
            [after],
            [_change(action, porf, after, comment, facts)],
            now=now,
            lines=await self._closed_lines(porf_id) if action is PorfAction.CLOSE else (),
            comments=() if comment is None else [self._comment(porf, comment)],
            tolerance=facts.over_order_percent if action is PorfAction.SUBMIT else None,
            opened=opened,
            changed=changed,
        )
        if opened is not None:
            is_open = after["status"] is PorfStatus.PENDING
            await self._notify(porf, RunStatus.OPEN if is_open else RunStatus.APPROVED)
        elif changed is not None:
            await self._notify(porf, ENDS[action])
        return await self._porfs.whole(porf_id)

    async def _decide(
        self,
        action: PorfAction,
        porf_id: int,
        *,
        expected: ExpectedVersions,
        comment: str | None,
        step_id: int | None,
    ) -> JsonDocument:
        """Approve, reject or return the request, as far as its steps ask the actor."""
        porf = await self._locked(porf_id)
        actor = await self._approvals.approver()
        facts = await self._porfs.facts(porf_id)
        await self._require(action, porf_id, facts, actor)
        now = utc_now()
        run = await self._approvals.open_run(porf, now)
        require_version(porf.version, accepts(run, porf.version, expected))
        decision = DECISIONS[action]
        if decision is Decision.APPROVED:
            decided = await self._approvals.approve(porf, run, facts, step_id=step_id, comment=comment, now=now)
        elif comment is None:
            raise errors.CommentRequired.at("/comment")
        else:
            decided = await self._approvals.refuse(
                porf, run, facts, decision, step_id=step_id, comment=comment, now=now
            )
        after = _state_after(action, porf, facts, actor, now)
        if decided.status is RunStatus.APPROVED:
            after |= {"status": PorfStatus.APPROVED, "decided_at": now}
        change = _change(action, porf, after, comment, facts, decided.shown)
        await self._repository.change([after], [change], now=now, changed=decided.change)
        await self._notify(porf, decided.status)
        return await self._porfs.whole(porf_id)

    async def _notify(self, porf: LockedPorf, status: RunStatus) -> None:
        """Tell the listeners what has become of the approval of the request, which was as given."""
        await self._listeners.notify(self._session, approval_event(self._actor, porf, status))

    async def _submit(self, porf: LockedPorf, facts: PorfFacts, after: dict[str, object], now: datetime) -> RunWrites:
        """Open the run of a submission: `after` is approved at once where the approvals of the run before stand."""
        opened = await self._approvals.submit(porf, facts, after, now)
        is_approved = opened.status is RunStatus.APPROVED
        after |= {"status": PorfStatus.APPROVED, "decided_at": now} if is_approved else {"status": PorfStatus.PENDING}
        return opened.writes

    async def reassign(self, porf_id: int, *, requester_id: int, expected: ExpectedVersions) -> JsonDocument:
        """Make another member who may raise requests the requester (admins), for instance after one has left."""
        porf = await self._locked(porf_id)
        facts = await self._porfs.facts(porf_id)
        MACHINE.require(PorfAction.REASSIGN, facts, self._actor)
        require_version(porf.version, expected)
        rights = await rights_of(self._session, self._actor, requester_id)
        if (
            rights is None
            or not rights.is_active
            or not may(frozenset(map(Role, rights.roles)), Permission.PORFS_WRITE)
        ):
            raise errors.UnknownRequester.at("/requester_id")
        if not facts.allow_self_approval and await self._approvals.has_approved(porf, requester_id):
            raise errors.RequesterHasApproved
        before, after = {"requester_id": porf.requester_id}, {"requester_id": requester_id}
        change = audit.Change("porf.reassign", "porf", porf.id, before, after, porf.version + 1)
        state = state_of(porf, requester_id=requester_id, author_ids=authors_of(porf, requester_id))
        await self._repository.change([state], [change], now=utc_now())
        return await self._porfs.whole(porf_id)

    async def _require(self, action: PorfAction, porf_id: int, facts: PorfFacts, actor: Actor) -> None:
        """Raise the error that prevents the action, with the reason for those that only amounts explain."""
        refused = MACHINE.refusal(action, facts, actor)
        if refused is errors.NoApprover:
            raise await self._porfs.no_approver(porf_id, facts)
        if refused is RateMissing:
            raise RateMissing.of(facts.currency)
        if refused is OverApprovalLimit and actor.approval_limit is not None:
            raise OverApprovalLimit(excess(facts, Approver.of(actor)))
        MACHINE.require(action, facts, actor)

    async def _locked(self, porf_id: int) -> LockedPorf:
        found = await self._repository.lock([porf_id])
        if not found:
            raise errors.PorfNotFound
        return found[0]

    async def _cost_centre(self, porf: LockedPorf) -> int | None:
        """The cost centre of the request's text, which the version before may have written alone."""
        if porf.cost_centre is None:
            return None
        return await self._structure.cost_centre_named(porf.cost_centre, porf.cost_centre_id)

    def _comment(self, porf: LockedPorf, text: str) -> dict[str, object]:
        return {"porf_id": porf.id, "author_id": self._actor.user_id, "text": text}

    async def _closed_lines(self, porf_id: int) -> list[LineQuantities]:
        """The lines with a remaining quantity, with that closed."""
        lines = await self._repository.lock_lines([porf_id])
        return [LineQuantities.of(line, closed=left) for line in lines if (left := remaining(line))]


def _state_after(
    action: PorfAction, porf: LockedPorf, facts: PorfFacts, actor: Actor, now: datetime
) -> dict[str, object]:
    """The state of the request after the action."""
    status = MACHINE.target(action, PorfStatus(porf.status))
    changed: dict[str, object] = {"status": status}
    if action is PorfAction.SUBMIT:
        changed |= {"submitted_at": now, "author_ids": authors_of(porf, actor.user_id)}
        changed |= {"over_order_percent": facts.over_order_percent, "maximum_total": facts.maximum_total}
        changed |= vars(base_amounts(porf.net, porf.total, facts)) | {"base_ceiling": _ceiling(facts)}
    elif status is PorfStatus.DRAFT:
        changed |= {"over_order_percent": None, "maximum_total": None}
        changed |= vars(NO_BASE_AMOUNTS) | {"base_ceiling": None}
    if action is PorfAction.REJECT:
        changed["decided_at"] = now
    if action in NEW_ROUND:
        # The times are those of the current round; the audit trail has the earlier ones.
        changed |= {"approval_round": porf.approval_round + 1, "submitted_at": None, "decided_at": None}
    return state_of(porf, **changed)


def _ceiling(facts: PorfFacts) -> Decimal | None:
    """What can be ordered at most in the base currency, as `maximum.ceiling_of`."""
    if facts.base_rate is None:
        return None
    return in_base_currency(facts.maximum_total, facts.base_rate, facts.base_currency)


def _change(
    action: PorfAction,
    porf: LockedPorf,
    state: Mapping[str, object],
    comment: str | None,
    facts: PorfFacts,
    decided: Mapping[str, object] | None = None,
) -> audit.Change:
    """The event. A submission and an approval are about the content: their events have its total.

    `decided` is what the event of a decision has more.
    """
    before = {"status": porf.status, "approval_round": porf.approval_round}
    after = {name: state[name] for name in before} | ({} if comment is None else {"comment": comment})
    if action in (PorfAction.SUBMIT, PorfAction.APPROVE):
        after |= {"total": facts.total, "currency": facts.currency}
        after |= recorded(state)
    after |= decided or {}
    return audit.Change(f"porf.{action}", "porf", porf.id, before, after, porf.version + 1)
