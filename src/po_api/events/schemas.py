"""Bodies of responses about events: for each form of data a schema, which the type of the event selects."""

from datetime import datetime
from typing import Annotated, Any, Literal, Union

from pydantic import Field, create_model

from po_api.audit import AuditedEntity
from po_api.core.actor import ActorKind
from po_api.events.domain import EVENT_TYPES, Shape, names_of
from po_api.web.schemas import AmountString, Schema

_EXAMPLE = "5f0c9d3e8b7a4c21:42"

# The values of the filter: every type but that of unknown actions.
EventName: Any = Literal[tuple(sorted(type_.name for type_ in EVENT_TYPES.values()))]


class EventActor(Schema):
    """Who caused an event; `id` and `name` are those of a member, also by an API key, and null for all others."""

    kind: ActorKind | None
    id: int | None
    name: str | None = Field(examples=["Bo Buyer"])


class ChangeData(Schema):
    """What changed."""

    version: int | None = Field(
        description="The version of the entity after the change; null if it has none, or if it was deleted"
    )
    changed: list[str] = Field(description="The names of the attributes that changed", examples=[["status"]])


class PorfCreationData(ChangeData):
    """A new request, with its total in its currency."""

    total: AmountString | None
    copied_from: int | None = Field(description="The request that it is a copy of")


class PorfLineChangeData(ChangeData):
    """A line of a request that was added, changed or deleted."""

    line_id: int | None


class PorfStatusChangeData(ChangeData):
    """The status of a request after the change; the amounts are those that were submitted or approved, else null."""

    status: str | None = Field(examples=["approved"])
    approval_round: int | None
    total: AmountString | None
    currency: str | None = Field(examples=["EUR"])


class PorfRequesterChangeData(ChangeData):
    """The new requester of a request."""

    requester_id: int | None


class PurchaseOrderChangeData(ChangeData):
    """A purchase order; `status` is that after the change, null if it has not changed."""

    status: str | None = Field(examples=["issued"])
    supplier_id: int | None
    total: AmountString | None
    currency: str | None = Field(examples=["EUR"])


class InvitationChangeData(ChangeData):
    """The answer to an invitation, or its revocation; null for a new one."""

    status: str | None = Field(examples=["accepted"])


class DeliveryChangeData(ChangeData):
    """The delivery of an order to its supplier; `error_code` says why it has failed."""

    status: str | None = Field(examples=["sent"])
    purchase_order_id: int | None
    error_code: str | None = Field(examples=["mail_refused"])


_DATA: dict[Shape, type[ChangeData]] = {
    Shape.CHANGE: ChangeData,
    Shape.PORF_CREATION: PorfCreationData,
    Shape.PORF_LINE: PorfLineChangeData,
    Shape.PORF_STATUS: PorfStatusChangeData,
    Shape.PORF_REQUESTER: PorfRequesterChangeData,
    Shape.PURCHASE_ORDER: PurchaseOrderChangeData,
    Shape.INVITATION: InvitationChangeData,
    Shape.DELIVERY: DeliveryChangeData,
}


class _Event(Schema):
    id: int = Field(description="The id of the event in the audit trail")
    number: int = Field(description="1, 2, 3 … without gaps, in the order in which the changes were committed")
    at: datetime = Field(description="When the change was made")
    actor: EventActor
    entity: AuditedEntity
    entity_id: int
    entity_number: str | None = Field(
        description="The number of the request or order as of now; null for other entities, drafts of orders, and what"
        " was deleted",
        examples=["PORF-2026-000001"],
    )


def _event(shape: Shape) -> Any:
    """The schema of the events with this form of data."""
    names: Any = Literal[tuple(names_of(shape))]
    doc = f"An event with `{_DATA[shape].__name__}`."
    return create_model(f"{shape}Event", __base__=_Event, __doc__=doc, type=(names, ...), data=(_DATA[shape], ...))


Event: Any = Annotated[Union[tuple(map(_event, Shape))], Field(discriminator="type")]  # noqa: UP007 - of a tuple


class EventPage(Schema):
    """Events in the order of their numbers."""

    next: str | None = Field(
        description="The `after` of the next request, also of a last page; null if the organisation has no events yet",
        examples=[_EXAMPLE],
    )
    has_more: bool = Field(description="Whether there are more events now")
    items: list[Event]


class SealRead(Schema):
    """The newest seal of the audit trail; before the first event has a number, the feed is null and the number 0."""

    feed: str | None = Field(examples=["5f0c9d3e8b7a4c21"])
    number: int = Field(description="The number of the last event that the seal covers", examples=[42])
    seal: str = Field(
        description="SHA-256 in hexadecimal digits",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    at: datetime | None = Field(description="When the event was sealed")
