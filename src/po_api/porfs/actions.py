"""What happens to a request: submitted, decided, cancelled, closed … One method runs every action of the table."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.errors import FieldError
from po_api.core.permissions import Role
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.json_sql import JsonDocument
from po_api.db.query import TransactionExecutor
from po_api.porfs import errors
from po_api.porfs.domain import (
    DECISIONS,
    MACHINE,
    NEW_ROUND,
    RAISERS,
    Decision,
    LineQuantities,
    PorfAction,
    content_hash,
    remaining,
)
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import PorfRepository, state_of
from po_api.users.service import UserService


class PorfActions:
    """The transitions; each writes the row, its history and one audit event in the caller's transaction."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = PorfRepository(session, actor)
        self._reading = PorfReadService(TransactionExecutor(session), actor)

    async def perform(
        self, action: PorfAction, porf_id: int, *, expected: ExpectedVersions, comment: str | None = None
    ) -> JsonDocument:
        """Run `action`, or raise what `allowed_actions` says of it.

        The guards come before the version: who loses a race is told that somebody else decided (409), not that the
        ETag is old (412).
        """
        decision = DECISIONS.get(action)
        porf = await self._locked(porf_id)
        actor = self._actor if decision is None else await self._approver()
        MACHINE.require(action, await self._reading.facts(porf_id), actor)
        require_version(porf.version, expected)
        if decision in (Decision.REJECTED, Decision.RETURNED) and comment is None:
            error = FieldError("/comment", errors.CommentRequired.code, errors.CommentRequired.title)
            raise errors.CommentRequired(errors=(error,))
        now = utc_now()
        after = _state_after(action, porf, now)
        written: dict[str, Any] = {}
        if decision is not None:
            written["decisions"] = [await self._decision(porf, decision, comment)]
        elif comment is not None:
            written["comments"] = [{"porf_id": porf_id, "author_id": self._actor.user_id, "text": comment}]
        if action is PorfAction.CLOSE:
            written["lines"] = await self._closed_lines(porf_id)
        change = _change(action, porf, after, comment)
        await self._repository.change([after], [change], now=now, submits=action is PorfAction.SUBMIT, **written)
        return await self._reading.whole(porf_id)

    async def reassign(self, porf_id: int, *, requester_id: int, expected: ExpectedVersions) -> JsonDocument:
        """Give a request to another member who may raise some, such as when its requester has left (admins)."""
        porf = await self._locked(porf_id)
        MACHINE.require(PorfAction.REASSIGN, await self._reading.facts(porf_id), self._actor)
        require_version(porf.version, expected)
        member = await UserService(self._session).current_member(self._actor, requester_id)
        if member is None or not member.is_active or not set(RAISERS).intersection(member.roles):
            error = FieldError("/requester_id", errors.UnknownRequester.code, errors.UnknownRequester.title)
            raise errors.UnknownRequester(errors=(error,))
        change = audit.Change(
            "porf.reassign", "porf", porf.id, {"requester_id": porf.requester_id}, {"requester_id": requester_id}
        )
        await self._repository.change([state_of(porf, requester_id=requester_id)], [change], now=utc_now())
        return await self._reading.whole(porf_id)

    async def _locked(self, porf_id: int) -> Any:
        found = await self._repository.locked([porf_id])
        if not found:
            raise errors.PorfNotFound
        return found[0]

    async def _approver(self) -> Actor:
        """The approver as committed now: the rights they had when the request began may be gone."""
        user = await UserService(self._session).current_member(self._actor, self._actor.user_id)
        if user is None or not user.is_active:
            raise errors.ApproverInactive
        roles = frozenset(Role(role) for role in user.roles)
        return replace(self._actor, roles=roles, approval_limit=user.approval_limit)

    async def _decision(self, porf: Any, decision: Decision, comment: str | None) -> dict[str, Any]:
        return {
            "porf_id": porf.id,
            "round": porf.approval_round,
            "approver_id": self._actor.user_id,
            "decision": decision,
            "comment": comment,
            "content_hash": content_hash(porf, await self._reading.lines(porf.id)),
        }

    async def _closed_lines(self, porf_id: int) -> list[LineQuantities]:
        """What closing the request makes of the lines of which something is left."""
        lines = await self._repository.locked_lines([porf_id])
        return [LineQuantities.of(line, closed=left) for line in lines if (left := remaining(line))]


def _state_after(action: PorfAction, porf: Any, now: datetime) -> dict[str, Any]:
    """What the action leaves of the request's own columns."""
    changed: dict[str, Any] = {"status": MACHINE.target(action)}
    if action is PorfAction.SUBMIT:
        changed["submitted_at"] = now
    if action in (PorfAction.APPROVE, PorfAction.REJECT):
        changed["decided_at"] = now
    if action in NEW_ROUND:
        changed["approval_round"] = porf.approval_round + 1
    return state_of(porf, **changed)


def _change(action: PorfAction, porf: Any, became: dict[str, Any], comment: str | None) -> audit.Change:
    before = {"status": porf.status, "approval_round": porf.approval_round}
    after = {name: became[name] for name in before} | ({} if comment is None else {"comment": comment})
    return audit.Change(f"porf.{action}", "porf", porf.id, before, after)
