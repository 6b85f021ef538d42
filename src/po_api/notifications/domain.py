"""The rules of notifications: kinds, who may see each, how members are told by default, and when mails are due."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from po_api.core.permissions import Permission

# At most so many members are told of one event: a request that a thousand may approve is on the list of all of them
# (`GET /porfs?waiting_for_me=true`), and a thousand rows would take longer than its submission.
MAX_RECIPIENTS = 200
# Of an organisation without approvers, so many requests are told to so many admins.
MAX_WITHOUT_APPROVER, MAX_ADMINS = 20, 20
# The items that a mail lists; the others are counted.
MAX_LISTED = 50
# A count beyond is not told.
MAX_COUNTED = 1000
# The time in which a notification may be read before a mail is sent.
MAIL_DELAY = timedelta(minutes=5)
DIGEST_AT = time(8)
# What is older is deleted.
KEPT = timedelta(days=180)


class NotificationKind(StrEnum):
    """What a member is told of."""

    APPROVAL_NEEDED = "approval_needed"
    APPROVAL_REMINDER = "approval_reminder"
    APPROVAL_ESCALATED = "approval_escalated"
    DECIDED = "decided"
    MENTIONED = "mentioned"
    COMMENTED = "commented"
    ORDER_ISSUED = "order_issued"
    DELIVERY_FAILED = "delivery_failed"
    NO_APPROVER_LEFT = "no_approver_left"
    DELEGATED_TO_YOU = "delegated_to_you"


class NotifiedEntity(StrEnum):
    """What a notification is about."""

    PORF = "porf"
    PURCHASE_ORDER = "purchase_order"
    APPROVAL_DELEGATION = "approval_delegation"


class EmailChoice(StrEnum):
    """Whether a mail tells of a notification: `now` after five minutes, `digest` at 08:00 with the others."""

    NOW = "now"
    DIGEST = "digest"
    OFF = "off"


class Preference(NamedTuple):
    """How a member is told of notifications of one kind; `in_app`: they are listed and counted."""

    in_app: bool
    email: EmailChoice


_AT_ONCE, _LATER = Preference(True, EmailChoice.NOW), Preference(True, EmailChoice.DIGEST)

# Mails at once are about what somebody waits for.
DEFAULTS: Mapping[NotificationKind, Preference] = {
    NotificationKind.APPROVAL_NEEDED: _AT_ONCE,
    NotificationKind.APPROVAL_REMINDER: _AT_ONCE,
    NotificationKind.APPROVAL_ESCALATED: _AT_ONCE,
    NotificationKind.DECIDED: _LATER,
    NotificationKind.MENTIONED: _AT_ONCE,
    NotificationKind.COMMENTED: _LATER,
    NotificationKind.ORDER_ISSUED: _LATER,
    NotificationKind.DELIVERY_FAILED: _AT_ONCE,
    NotificationKind.NO_APPROVER_LEFT: _AT_ONCE,
    NotificationKind.DELEGATED_TO_YOU: _AT_ONCE,
}
# Somebody waits for the member: these are always listed.
ALWAYS_IN_APP = frozenset({NotificationKind.APPROVAL_NEEDED})
# When a request does not wait for a decision any more, there is nothing to do about these.
RESOLVED_WITH_REQUEST = (
    NotificationKind.APPROVAL_NEEDED,
    NotificationKind.APPROVAL_REMINDER,
    NotificationKind.APPROVAL_ESCALATED,
    NotificationKind.NO_APPROVER_LEFT,
)
# What has to be permitted as long as the notification is shown, beside seeing what it is about.
REQUIRED: Mapping[NotificationKind, Permission] = {
    NotificationKind.APPROVAL_NEEDED: Permission.PORFS_DECIDE,
    NotificationKind.APPROVAL_REMINDER: Permission.PORFS_DECIDE,
    NotificationKind.APPROVAL_ESCALATED: Permission.PORFS_DECIDE,
    NotificationKind.DELIVERY_FAILED: Permission.DELIVERIES_READ,
    NotificationKind.NO_APPROVER_LEFT: Permission.USERS_MANAGE,
}


@dataclass(frozen=True)
class Cause:
    """What members are told of: `key` names it among all causes of an organisation. `actor_id` is the member who did
    it, who is not told."""

    entity: NotifiedEntity
    entity_id: int
    key: str
    actor_id: int | None
    data: Mapping[str, object] = field(default_factory=dict)

    def rows(self, recipients: Mapping[int, NotificationKind]) -> list[dict[str, object]]:
        """The rows of the recipients, by their user ids."""
        keys: dict[str, object] = {f"{entity}_id": None for entity in NotifiedEntity}
        keys |= {f"{self.entity}_id": self.entity_id}
        same = {**keys, "actor_id": self.actor_id, "data": self.data, "dedupe_key": self.key}
        others = sorted(user_id for user_id in recipients if user_id != self.actor_id)
        return [{"user_id": user_id, "kind": recipients[user_id], **same} for user_id in others[:MAX_RECIPIENTS]]


def by_reason(*reasons: tuple[NotificationKind, Collection[int]]) -> dict[int, NotificationKind]:
    """The kind for each member, by user id: that of the first of the reasons that concerns them."""
    return {user_id: kind for kind, user_ids in reversed(reasons) for user_id in user_ids}


class PlannedMail(NamedTuple):
    """A mail to be sent; `key` is unique for each member, `notification_id` is None for a digest."""

    user_id: int
    key: str
    notification_id: int | None
    due_at: datetime

    @property
    def kind(self) -> str:
        return "digest" if self.notification_id is None else "single"


class NewNotification(NamedTuple):
    """A notification that was not looked at for a mail, with the member's choice."""

    id: int
    user_id: int
    email: EmailChoice
    created_at: datetime


def next_digest(now: datetime, timezone: str) -> datetime:
    """The next time after `now` at which digests are due: 08:00 in the zone (IANA)."""
    zone = ZoneInfo(timezone)
    local = now.astimezone(zone)
    today = datetime.combine(local.date(), DIGEST_AT, zone)
    # Compared in UTC: of two times in one zone, Python would compare what the clocks on the wall say.
    if today.timestamp() > now.timestamp():
        return today
    return datetime.combine(local.date() + timedelta(days=1), DIGEST_AT, zone)


def planned_mails(found: Sequence[NewNotification], now: datetime, timezone: str) -> list[PlannedMail]:
    """The mails about new notifications, each once; the digest is that of the next morning."""
    digest_at = next_digest(now, timezone)
    planned = {}
    for item in found:
        match item.email:
            case EmailChoice.NOW:
                mail = PlannedMail(item.user_id, f"single:{item.id}", item.id, item.created_at + MAIL_DELAY)
            case EmailChoice.DIGEST:
                mail = PlannedMail(item.user_id, _digest_key(digest_at.date()), None, digest_at)
            case EmailChoice.OFF:
                continue
        planned[mail.user_id, mail.key] = mail
    return list(planned.values())


def _digest_key(day: date) -> str:
    return f"digest:{day.isoformat()}"
