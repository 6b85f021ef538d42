"""Bodies of requests and responses about notifications."""

from datetime import datetime

from pydantic import MISSING, Field, StrictBool

from po_api.notifications.domain import EmailChoice, NotificationKind, NotifiedEntity
from po_api.notifications.queries import NotificationRow
from po_api.notifications.service import Preferences
from po_api.web.schemas import Moment, Page, Schema


class NotificationData(Schema):
    """What else there is to say, by the kind; the other fields are null."""

    decision: str | None = Field(
        default=None, description="Of `decided`: `approved`, `rejected` or `returned`", examples=["approved"]
    )
    comment_id: int | None = Field(default=None, description="Of `commented` and `mentioned`", examples=[12])
    delivery_id: int | None = Field(default=None, description="Of `delivery_failed`", examples=[7])
    reminder: int | None = Field(
        default=None, description="Of `approval_reminder`: its number, from 1 on", examples=[1]
    )
    starts_at: datetime | None = Field(default=None, description="Of `delegated_to_you`")
    ends_at: datetime | None = Field(default=None, description="Of `delegated_to_you`")
    error_code: str | None = Field(
        default=None, description="Of `delivery_failed`: the last error", examples=["mail_refused"]
    )


class NotificationRead(Schema):
    """A notification of the caller."""

    id: int
    kind: NotificationKind
    entity: NotifiedEntity
    entity_id: int = Field(examples=[42])
    number: str | None = Field(description="The number of the request or order", examples=["PORF-2026-000042"])
    title: str = Field(
        description="The title of the request, or the name of the order's supplier or of the delegator",
        examples=["Desk lamps"],
    )
    actor_id: int | None = Field(description="The member who did it; null for the application", examples=[3])
    actor_name: str | None = Field(examples=["Max Miller"])
    data: NotificationData
    created_at: datetime
    read_at: datetime | None
    resolved_at: datetime | None = Field(description="Since when there is nothing to do about it any more")

    @classmethod
    def of(cls, row: NotificationRow) -> "NotificationRead":
        return cls.model_validate({**row._asdict(), "data": row.details})


class NotificationPage(Page):
    """A page of notifications."""

    items: list[NotificationRead]


class NotificationCount(Schema):
    """How many notifications are unread."""

    unread: int = Field(description="At most 1,000", examples=[3])


class ReadAll(Schema):
    """Up to which time everything was read."""

    before: Moment = Field(
        description="`created_at` of the newest notification that was shown; earlier ones are read, too",
        examples=["2026-05-04T08:00:00Z"],
    )


class ReadCount(Schema):
    """How many notifications were unread, and are read now."""

    read: int = Field(examples=[3])


class PreferenceRead(Schema):
    """How the caller is told of notifications of one kind."""

    in_app: bool = Field(description="Whether they are listed and counted")
    email: EmailChoice


class PreferencePatch(Schema):
    """A merge patch: omitted fields keep their values."""

    in_app: StrictBool | MISSING = MISSING
    email: EmailChoice | MISSING = MISSING


class PreferencesRead(Schema):
    """How the caller is told of notifications, by kind."""

    approval_needed: PreferenceRead = Field(description="A request waits for the caller; always listed")
    approval_reminder: PreferenceRead = Field(description="A request still waits for the caller")
    approval_escalated: PreferenceRead = Field(description="A request, late for its decision, waits for the caller")
    decided: PreferenceRead = Field(description="The caller's request was approved, rejected or returned")
    mentioned: PreferenceRead = Field(description="A comment mentions the caller")
    commented: PreferenceRead = Field(description="A comment on what the caller requested, decided or commented on")
    order_issued: PreferenceRead = Field(description="An order of the caller's request was issued")
    delivery_failed: PreferenceRead = Field(description="The mail with an order could not be sent")
    no_approver_left: PreferenceRead = Field(description="No active member may approve a pending request")
    delegated_to_you: PreferenceRead = Field(description="The caller may decide for another member")

    @classmethod
    def of(cls, preferences: Preferences) -> "PreferencesRead":
        return cls.model_validate({kind: chosen._asdict() for kind, chosen in preferences.items()})


class PreferencesPatch(Schema):
    """A merge patch: omitted kinds keep their values."""

    approval_needed: PreferencePatch | MISSING = MISSING
    approval_reminder: PreferencePatch | MISSING = MISSING
    approval_escalated: PreferencePatch | MISSING = MISSING
    decided: PreferencePatch | MISSING = MISSING
    mentioned: PreferencePatch | MISSING = MISSING
    commented: PreferencePatch | MISSING = MISSING
    order_issued: PreferencePatch | MISSING = MISSING
    delivery_failed: PreferencePatch | MISSING = MISSING
    no_approver_left: PreferencePatch | MISSING = MISSING
    delegated_to_you: PreferencePatch | MISSING = MISSING
