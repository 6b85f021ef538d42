"""The types of events, one for each action of the audit trail, and the position of a reader in a feed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Shape(StrEnum):
    """The forms of an event's data (schemas.py)."""

    CHANGE = "Change"
    PORF_CREATION = "PorfCreation"
    PORF_LINE = "PorfLineChange"
    PORF_STATUS = "PorfStatusChange"
    PORF_REQUESTER = "PorfRequesterChange"
    PURCHASE_ORDER = "PurchaseOrderChange"
    INVITATION = "InvitationChange"
    DELIVERY = "DeliveryChange"


# The attributes of the change that each form shows; all others are only named. No form shows texts of people, rights or
# anything that is secret.
ATTRIBUTES: Mapping[Shape, Sequence[str]] = {
    Shape.CHANGE: (),
    Shape.PORF_CREATION: ("total", "copied_from"),
    Shape.PORF_LINE: ("line_id",),
    Shape.PORF_STATUS: ("status", "approval_round", "total", "currency"),
    Shape.PORF_REQUESTER: ("requester_id",),
    Shape.PURCHASE_ORDER: ("status",),
    Shape.INVITATION: ("status",),
    Shape.DELIVERY: ("status", "purchase_order_id", "error_code"),
}


@dataclass(frozen=True)
class EventType:
    """The type of an event, a past participle, and the form of its data."""

    name: str
    shape: Shape = Shape.CHANGE


# The type of actions that this version does not know, which a later one may have written.
UNKNOWN = EventType("unknown")

_PORF_STATUS = {
    "submit": "submitted",
    "recall": "recalled",
    "return": "returned",
    "approve": "approved",
    "reject": "rejected",
    "revise": "revised",
    "cancel": "cancelled",
    "reopen": "reopened",
    "close": "closed",
    "convert": "converted",
    "release": "released",
    "override": "overridden",
    "add_approver": "approver_added",
    "remove_approver": "approver_removed",
    "reassign_step": "step_reassigned",
    "escalate": "escalated",
    "vacate": "approver_left",
}
_PURCHASE_ORDER = {
    "create": "created",
    "update": "updated",
    "issue": "issued",
    "cancel": "cancelled",
    "close": "closed",
    "update_line": "line_updated",
}
_POLICY = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "add_rule": "rule_added",
    "update_rule": "rule_updated",
    "delete_rule": "rule_deleted",
    "publish": "published",
    "retire": "retired",
}
_STRUCTURE = ("cost_centre", "category", "team", "approval_group")
_ENTRY = {"create": "created", "update": "updated", "activate": "activated", "deactivate": "deactivated"}
_ON_DOCUMENTS = {
    "edit_comment": "comment_edited",
    "delete_comment": "comment_deleted",
    "add_file": "file_added",
    "delete_file": "file_deleted",
}
_INVITATION = {"create": "created", "accept": "accepted", "decline": "declined", "revoke": "revoked"}

_DELIVERY = {
    "create": "created",
    "send": "sent",
    "fail": "failed",
    "retry": "retried",
    "cancel": "cancelled",
    "mark_bounced": "bounced",
    "view": "viewed",
}

# By action. The names are part of the API: never changed, and new ones are added.
EVENT_TYPES: Mapping[str, EventType] = {
    "porf.create": EventType("porf.created", Shape.PORF_CREATION),
    "porf.update": EventType("porf.updated"),
    "porf.delete": EventType("porf.deleted"),
    "porf.add_line": EventType("porf.line_added", Shape.PORF_LINE),
    "porf.update_line": EventType("porf.line_updated", Shape.PORF_LINE),
    "porf.delete_line": EventType("porf.line_deleted", Shape.PORF_LINE),
    "porf.reassign": EventType("porf.reassigned", Shape.PORF_REQUESTER),
    **{f"porf.{verb}": EventType(f"porf.{done}", Shape.PORF_STATUS) for verb, done in _PORF_STATUS.items()},
    **{
        f"purchase_order.{verb}": EventType(f"purchase_order.{done}", Shape.PURCHASE_ORDER)
        for verb, done in _PURCHASE_ORDER.items()
    },
    **{
        f"{entity}.{verb}": EventType(f"{entity}.{done}")
        for entity in ("porf", "purchase_order")
        for verb, done in _ON_DOCUMENTS.items()
    },
    **{f"invitation.{verb}": EventType(f"invitation.{done}", Shape.INVITATION) for verb, done in _INVITATION.items()},
    **{f"delivery.{verb}": EventType(f"delivery.{done}", Shape.DELIVERY) for verb, done in _DELIVERY.items()},
    "supplier.create": EventType("supplier.created"),
    "supplier.update": EventType("supplier.updated"),
    "supplier.activate": EventType("supplier.activated"),
    "supplier.deactivate": EventType("supplier.deactivated"),
    "supplier.add_contact": EventType("supplier.contact_added"),
    "supplier.update_contact": EventType("supplier.contact_updated"),
    "supplier.activate_contact": EventType("supplier.contact_activated"),
    "supplier.deactivate_contact": EventType("supplier.contact_deactivated"),
    "address.create": EventType("address.created"),
    "address.update": EventType("address.updated"),
    "address.activate": EventType("address.activated"),
    "address.deactivate": EventType("address.deactivated"),
    **{f"{kind}.{verb}": EventType(f"{kind}.{done}") for kind in _STRUCTURE for verb, done in _ENTRY.items()},
    **{f"approval_policy.{verb}": EventType(f"approval_policy.{done}") for verb, done in _POLICY.items()},
    "approval_delegation.add": EventType("approval_delegation.added"),
    "approval_delegation.revoke": EventType("approval_delegation.revoked"),
    "exchange_rate.create": EventType("exchange_rate.created"),
    "exchange_rate.correct": EventType("exchange_rate.corrected"),
    "exchange_rate.delete": EventType("exchange_rate.deleted"),
    "external_reference.create": EventType("external_reference.created"),
    "external_reference.delete": EventType("external_reference.deleted"),
    "organisation.create": EventType("organisation.created"),
    "organisation.update": EventType("organisation.updated"),
    "organisation.verify_folder": EventType("organisation.folder_verified"),
    "organisation.allow_mail": EventType("organisation.mail_allowed"),
    "organisation.retry_filings": EventType("organisation.filings_retried"),
    "filing.retry": EventType("filing.retried"),
    "user.create": EventType("user.created"),
    "user.identify": EventType("user.identified"),
    "user.join": EventType("user.joined"),
    "user.leave": EventType("user.left"),
    "user.update": EventType("user.updated"),
    "user.activate": EventType("user.activated"),
    "user.deactivate": EventType("user.deactivated"),
    "api_key.create": EventType("api_key.created"),
    "api_key.rotate": EventType("api_key.rotated"),
    "api_key.revoke": EventType("api_key.revoked"),
    "webhook_endpoint.create": EventType("webhook_endpoint.created"),
    "webhook_endpoint.update": EventType("webhook_endpoint.updated"),
    "webhook_endpoint.delete": EventType("webhook_endpoint.deleted"),
    "webhook_endpoint.disable": EventType("webhook_endpoint.disabled"),
    "webhook_endpoint.rotate_secret": EventType("webhook_endpoint.secret_rotated"),
    "webhook_endpoint.test": EventType("webhook_endpoint.tested"),
    "webhook_endpoint.retry": EventType("webhook_endpoint.delivery_retried"),
    "webhook_endpoint.replay": EventType("webhook_endpoint.events_replayed"),
    "session.revoke": EventType("session.revoked"),
    "session.revoke_all": EventType("session.all_revoked"),
    "session.refresh_token_reused": EventType("session.refresh_token_reused"),
}
ACTIONS: Mapping[str, str] = {type_.name: action for action, type_ in EVENT_TYPES.items()}
# Attributes that representations do not have, and the comment, which is a text of a person and no attribute.
_UNNAMED = frozenset({"name_key", "comment"})


def names_of(shape: Shape) -> list[str]:
    """The types with this form of data, sorted."""
    return sorted(type_.name for type_ in (*EVENT_TYPES.values(), UNKNOWN) if type_.shape is shape)


def data_of(
    type_: EventType, version: int | None, before: Mapping[str, object] | None, after: Mapping[str, object] | None
) -> dict[str, object]:
    """The data of an event: the version, the names of what changed, and the values that its form shows."""
    changes = {**(before or {}), **(after or {})}
    shown = {name: changes.get(name) for name in ATTRIBUTES[type_.shape]}
    return {"version": version, "changed": sorted(changes.keys() - _UNNAMED), **shown}


# The form of a position as text.
POSITION = r"^[0-9a-f]{16}:[0-9]{1,18}$"


@dataclass(frozen=True)
class Position:
    """A place in a feed: after the event with this number, 0 for the beginning."""

    feed: str
    number: int

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The position in the form of `str`, which the caller has validated."""
        feed, _, number = text.partition(":")
        return cls(feed, int(number))

    def __str__(self) -> str:
        return f"{self.feed}:{self.number}"


class Feed(Protocol):
    """A feed of an organisation, and its last number; of one that a restore has ended, the last that was restored."""

    @property
    def feed(self) -> str: ...

    @property
    def last_number(self) -> int: ...


def continuation(position: Position, ended: Sequence[Feed]) -> int:
    """The number in the current feed up to which it has the events of a position in another feed.

    `ended` are the feeds that were replaced, oldest first. A feed that is not among them was made after the backup that
    was restored, from which nothing is known of it: its reader begins again.
    """
    found = next((index for index, feed in enumerate(ended) if feed.feed == position.feed), None)
    if found is None:
        return 0
    return min(position.number, *(feed.last_number for feed in ended[found:]))
