"""Who is told of what, in the transaction of the cause; and what members do about their notifications."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_delegations.events import Delegated, DelegationRevoked
from po_api.approvals.domain import Decision
from po_api.approvals.events import PeopleLost, ReminderDue, RunEnded, StepEscalated, StepsActivated
from po_api.comments.events import CommentAdded, CommentEdited, CommentWithdrawn
from po_api.comments.identity import CommentedEntity
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.listeners import ChangeWarning
from po_api.db.query import TransactionExecutor
from po_api.db.wakeups import notify_after_commit
from po_api.deliveries.events import DeliveryFailed
from po_api.members.events import MemberChanged
from po_api.notifications.domain import (
    ALWAYS_IN_APP,
    DEFAULTS,
    MAX_WITHOUT_APPROVER,
    Cause,
    EmailChoice,
    NotificationKind,
    NotifiedEntity,
    Preference,
    by_reason,
)
from po_api.notifications.errors import AlwaysInApp
from po_api.notifications.mail_planning import PLAN
from po_api.notifications.preference_repository import PreferenceRepository
from po_api.notifications.queries import NotificationQueries, NotificationRow
from po_api.notifications.repository import NotificationRepository
from po_api.porfs.service import warn_of_missing_approvers
from po_api.purchase_orders.events import OrderIssued

Preferences = Mapping[NotificationKind, Preference]

# The ends of an approval that are decisions, not withdrawals.
DECISIONS = frozenset(map(str, Decision))


class NotificationService:
    """Reads notifications for their member, in the sense of opening them, and keeps what members choose."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._actor = actor
        self._repository = NotificationRepository(session, actor.organisation_id)
        self._preferences = PreferenceRepository(session, actor)
        self._queries = NotificationQueries(TransactionExecutor(session), actor)

    async def read(self, notification_id: int) -> NotificationRow:
        """Note that the actor has read a notification. Raises NotificationNotFound."""
        await self._queries.get(notification_id)
        await self._repository.read(self._actor.member_id, notification_id)
        return await self._queries.get(notification_id)

    async def read_all(self, before: datetime) -> int:
        """Note that the actor has read what there was at a time; returns the number of those that were unread."""
        return await self._repository.read_all(self._actor.member_id, before)

    async def choose(
        self, changes: Mapping[NotificationKind, Mapping[str, Any]], *, expected: ExpectedVersions
    ) -> tuple[Preferences, int]:
        """Change what the actor has chosen; returns that as `preferences_of` does. Raises AlwaysInApp."""
        for kind, change in changes.items():
            if kind in ALWAYS_IN_APP and change.get("in_app") is False:
                raise AlwaysInApp.at(f"/{kind}/in_app")
        await self._preferences.lock()
        before, version = await preferences_of(self._queries)
        require_version(version, expected)
        for kind, change in changes.items():
            if (chosen := before[kind]._replace(**change)) != before[kind]:
                await self._preferences.choose(kind, chosen)
        return await preferences_of(self._queries)


async def preferences_of(queries: NotificationQueries) -> tuple[Preferences, int]:
    """What a member has chosen for every kind, or the default; and the version, which each change increases."""
    chosen = await queries.preferences()
    found = dict(DEFAULTS) | {kind: Preference(row.in_app, EmailChoice(row.email)) for kind, row in chosen.items()}
    return found, 1 + sum(row.version for row in chosen.values())


# Listeners


async def tell_approvers(session: AsyncSession, event: StepsActivated) -> list[ChangeWarning]:
    """Tell those whom a request asks for approval now."""
    await NotificationRepository(session, event.actor.organisation_id).ask(event.porf_id, event.actor.user_id)
    notify_after_commit(session, PLAN)
    return []


async def remind_approvers(session: AsyncSession, event: ReminderDue) -> list[ChangeWarning]:
    """Remind those whom the step still asks."""
    repository = NotificationRepository(session, event.actor.organisation_id)
    key = f"porf:{event.porf_id}:step:{event.step_id}:reminder:{event.n}"
    cause = Cause(NotifiedEntity.PORF, event.porf_id, key, None, {"reminder": event.n})
    asked = await repository.asked(event.porf_id, event.step_id)
    await _tell(session, repository, cause, dict.fromkeys(asked, NotificationKind.APPROVAL_REMINDER))
    return []


async def tell_of_escalation(session: AsyncSession, event: StepEscalated) -> list[ChangeWarning]:
    """Tell those whom the step asks now, too."""
    repository = NotificationRepository(session, event.actor.organisation_id)
    cause = Cause(NotifiedEntity.PORF, event.porf_id, f"porf:{event.porf_id}:step:{event.step_id}:escalated", None)
    await _tell(session, repository, cause, dict.fromkeys(event.user_ids, NotificationKind.APPROVAL_ESCALATED))
    return []


async def tell_decision(session: AsyncSession, event: RunEnded) -> list[ChangeWarning]:
    """There is nothing to do for the approvers any more; tell the requester of the decision, if it is one."""
    rows: list[dict[str, object]] = []
    if event.status in DECISIONS:
        key, data = f"porf:{event.porf_id}:{event.version}", {"decision": str(event.status)}
        cause = Cause(NotifiedEntity.PORF, event.porf_id, key, event.actor.user_id, data)
        rows = cause.rows({event.requester_id: NotificationKind.DECIDED})
    await NotificationRepository(session, event.actor.organisation_id).resolve(event.porf_id, rows)
    notify_after_commit(session, PLAN)
    return []


async def tell_of_comment(session: AsyncSession, event: CommentAdded) -> list[ChangeWarning]:
    """Tell those who are mentioned, and those who had to do with the request or the order before."""
    repository = NotificationRepository(session, event.actor.organisation_id)
    is_porf = event.entity is CommentedEntity.PORF
    participants = await (repository.participants if is_porf else repository.order_participants)(event.entity_id)
    reasons = (NotificationKind.MENTIONED, event.mentioned), (NotificationKind.COMMENTED, participants)
    await _tell(session, repository, _commented(event), by_reason(*reasons))
    return []


async def tell_of_edited_comment(session: AsyncSession, event: CommentEdited) -> list[ChangeWarning]:
    """Tell those whom the comment mentions only now; for those whom it does not mention any more, it is nothing."""
    repository = NotificationRepository(session, event.actor.organisation_id)
    cause = _commented(event)
    await repository.resolve_cause(cause, event.unmentioned, at=utc_now())
    # Who was mentioned before has a row already.
    await repository.resolve_cause(cause, event.mentioned, at=None)
    await _tell(session, repository, cause, by_reason((NotificationKind.MENTIONED, event.mentioned)))
    return []


async def forget_deleted_comment(session: AsyncSession, event: CommentWithdrawn) -> list[ChangeWarning]:
    """There is nothing to read any more for those who were told of the comment."""
    repository = NotificationRepository(session, event.actor.organisation_id)
    await repository.resolve_cause(_commented(event), None, at=utc_now())
    return []


def _commented(event: CommentAdded | CommentEdited | CommentWithdrawn) -> Cause:
    key, data = f"comment:{event.comment_id}", {"comment_id": event.comment_id}
    return Cause(NotifiedEntity(event.entity), event.entity_id, key, event.actor.user_id, data)


async def tell_of_issue(session: AsyncSession, event: OrderIssued) -> list[ChangeWarning]:
    """Tell the requesters that their order was issued."""
    repository = NotificationRepository(session, event.actor.organisation_id)
    key = f"purchase_order:{event.order_id}:issued"
    cause = Cause(NotifiedEntity.PURCHASE_ORDER, event.order_id, key, event.actor.user_id)
    await _tell(session, repository, cause, dict.fromkeys(event.requester_ids, NotificationKind.ORDER_ISSUED))
    return []


async def tell_of_failed_delivery(session: AsyncSession, event: DeliveryFailed) -> list[ChangeWarning]:
    """Tell the buyer that the mail with an order was not sent."""
    repository = NotificationRepository(session, event.actor.organisation_id)
    key = f"delivery:{event.delivery_id}:{event.requested_at.timestamp()}"
    data = {"delivery_id": event.delivery_id, "error_code": event.code}
    cause = Cause(NotifiedEntity.PURCHASE_ORDER, event.order_id, key, None, data)
    await _tell(session, repository, cause, {event.requested_by_id: NotificationKind.DELIVERY_FAILED})
    return []


async def tell_of_missing_approvers(session: AsyncSession, event: MemberChanged) -> list[ChangeWarning]:
    """Tell the admins, at most once a day of each, of the pending requests that no active member may approve now.

    Returns the warnings that the actor gets instead.
    """
    warnings = await warn_of_missing_approvers(session, event)
    left = [porf_id for warning in warnings for porf_id, _ in warning.porfs][:MAX_WITHOUT_APPROVER]
    if left:
        await _tell_admins(session, event.actor, left)
    return warnings


async def tell_of_lost_people(session: AsyncSession, event: PeopleLost) -> list[ChangeWarning]:
    """Tell the admins, at most once a day, if too few people are left in a step; otherwise there is nothing to do for
    them any more."""
    if event.is_short:
        await _tell_admins(session, event.actor, [event.porf_id])
    else:
        await NotificationRepository(session, event.actor.organisation_id).has_approvers(event.porf_id)
    return []


async def _tell_admins(session: AsyncSession, actor: Actor, porf_ids: Sequence[int]) -> None:
    """Tell the admins that requests have no approver left."""
    repository = NotificationRepository(session, actor.organisation_id)
    admins = dict.fromkeys(await repository.admins(), NotificationKind.NO_APPROVER_LEFT)
    key = f"no_approver_left:{utc_now().date()}"
    causes = (Cause(NotifiedEntity.PORF, porf_id, f"porf:{porf_id}:{key}", actor.user_id) for porf_id in porf_ids)
    await repository.add([row for cause in causes for row in cause.rows(admins)])
    notify_after_commit(session, PLAN)


async def tell_delegate(session: AsyncSession, event: Delegated) -> list[ChangeWarning]:
    """Tell the delegate for whom they may decide, and when."""
    repository = NotificationRepository(session, event.actor.organisation_id)
    entity, data = NotifiedEntity.APPROVAL_DELEGATION, {"starts_at": event.starts_at, "ends_at": event.ends_at}
    times = {name: time.isoformat() for name, time in data.items()}
    key = f"approval_delegation:{event.delegation_id}"
    cause = Cause(entity, event.delegation_id, key, event.actor.user_id, times)
    await _tell(session, repository, cause, {event.delegate_id: NotificationKind.DELEGATED_TO_YOU})
    return []


async def resolve_delegation(session: AsyncSession, event: DelegationRevoked) -> list[ChangeWarning]:
    """The delegate decides for nobody any more."""
    await NotificationRepository(session, event.actor.organisation_id).is_revoked(event.delegation_id)
    return []


async def _tell(
    session: AsyncSession, repository: NotificationRepository, cause: Cause, recipients: Mapping[int, NotificationKind]
) -> None:
    await repository.add(cause.rows(recipients))
    notify_after_commit(session, PLAN)
