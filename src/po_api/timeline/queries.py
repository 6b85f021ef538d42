"""Reading the timeline of a request or an order: what happened to it, and what was said about it, in one list."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Text, and_, bindparam, literal_column, select

from po_api.approvals.models import ApprovalDecision
from po_api.audit import AuditEvent
from po_api.comments.models import Comment
from po_api.comments.projections import is_about, is_addressed
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.merged_listing import Branch, MergedListing
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, QueryExecutor
from po_api.files.domain import FileOwner
from po_api.files.models import Attachment
from po_api.files.projections import is_of_document
from po_api.history.queries import Redaction, shows_something
from po_api.porfs import read_service as porf_reading
from po_api.porfs.models import PorfLine
from po_api.porfs.read_service import PorfReadService
from po_api.purchase_orders import read_service as order_reading
from po_api.purchase_orders.collaboration_queries import OrderCollaborationQueries
from po_api.purchase_orders.delivery_models import Delivery
from po_api.purchase_orders.models import Allocation, PurchaseOrderLine
from po_api.timeline.domain import TimelineKind
from po_api.timeline.projections import (
    shown_comment,
    shown_decision,
    shown_delivery_event,
    shown_event,
    shown_file,
    shown_order_event,
)

_EVENTS, _COMMENTS, _FILES = AuditEvent.__table__, Comment.__table__, Attachment.__table__
_DOCUMENT_ID = bindparam("document_id", type_=BigInteger)

# Entries of other kinds are about these.
_ELSEWHERE = ("porf.approve", "porf.reject", "porf.return", "porf.add_file", "purchase_order.add_file")
# What a requester has to know of an order: it has the request's lines.
_OF_ORDERS = ("purchase_order.issue", "purchase_order.cancel", "purchase_order.close")


class TimelineRow(NamedTuple):
    """An entry of a timeline; `code` is an action of the audit trail or the name of a type of events, `data` JSON."""

    at: datetime
    branch: int
    id: int
    kind: str
    actor_kind: str | None
    actor_id: int | None
    actor_name: str | None
    code: str
    data: str


class TimelineQueries:
    """Reads the timelines of the requests and orders that are visible to the member."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._porfs = PorfReadService(executor, actor)
        self._orders = OrderCollaborationQueries(executor, actor)

    async def of_porf(self, porf_id: int, request: PageRequest) -> PageOf[TimelineRow]:
        """The entries of a request, with those of its orders. Raises PorfNotFound."""
        await self._porfs.header(porf_id)
        return await self._page(_of_porf(porf_reading.redaction_for(self._actor)), porf_id, request)

    async def of_order(self, order_id: int, request: PageRequest) -> PageOf[TimelineRow]:
        """The entries of an order. Raises PurchaseOrderNotFound."""
        sees_part = await self._orders.sees_part(order_id)
        listing = _of_order(
            order_reading.redaction_for(self._actor),
            only_addressed=sees_part,
            shows_deliveries=self._actor.may(Permission.DELIVERIES_READ),
        )
        return await self._page(listing, order_id, request)

    async def _page(
        self, listing: MergedListing[TimelineRow], document_id: int, request: PageRequest
    ) -> PageOf[TimelineRow]:
        mine = {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id}
        return await listing.page(self._executor, request, {**mine, "document_id": document_id})


@cache
def _of_porf(redaction: Redaction) -> MergedListing[TimelineRow]:
    decisions = select(ApprovalDecision.__table__).where(
        ApprovalDecision.organisation_id == ORGANISATION_ID, ApprovalDecision.porf_id == _DOCUMENT_ID
    )
    branches = [
        *_common(FileOwner.PORF, redaction, only_addressed=False),
        Branch(decisions, "decided_at", shown_decision),
        Branch(_events_of("purchase_order", _orders_of_porf(), *_OF_ORDERS), "created_at", shown_order_event),
    ]
    return MergedListing("timeline.of_porf", TimelineRow, branches)


@cache
def _of_order(redaction: Redaction, *, only_addressed: bool, shows_deliveries: bool) -> MergedListing[TimelineRow]:
    branches = [*_common(FileOwner.PURCHASE_ORDER, redaction, only_addressed=only_addressed)]
    if shows_deliveries:
        deliveries = select(Delivery.id).where(
            Delivery.organisation_id == ORGANISATION_ID, Delivery.purchase_order_id == _DOCUMENT_ID
        )
        branches.append(Branch(_events_of("delivery", deliveries), "created_at", shown_delivery_event))
    return MergedListing("timeline.of_order", TimelineRow, branches)


def _common(owner: FileOwner, redaction: Redaction, *, only_addressed: bool) -> Sequence[Branch]:
    """Events, comments and files of a request or an order."""
    elsewhere = [literal_column(f"'{action}'", Text) for action in _ELSEWHERE]
    is_shown: list[ColumnElement[bool]] = [AuditEvent.action.not_in(elsewhere)]
    if redaction.attributes:
        is_shown.append(shows_something(redaction.attributes))
    events = select(_EVENTS).where(_is_event_of(owner), AuditEvent.entity_id == _DOCUMENT_ID, *is_shown)
    comments = select(_COMMENTS).where(is_about(f"{owner}_id", _DOCUMENT_ID))
    if only_addressed:
        comments = comments.where(is_addressed(_COMMENTS))
    is_file = is_of_document(owner, _DOCUMENT_ID, only_addressed=only_addressed)
    files = select(_FILES).where(is_file, Attachment.deleted_at.is_(None))
    return (
        Branch(events, "created_at", shown_event(TimelineKind.EVENT, redaction)),
        Branch(comments, "created_at", shown_comment(owner)),
        Branch(files, "created_at", shown_file(owner)),
    )


def _is_event_of(entity: str) -> ColumnElement[bool]:
    return and_(AuditEvent.organisation_id == ORGANISATION_ID, AuditEvent.entity == literal_column(f"'{entity}'"))


def _events_of(entity: str, ids: AnySelect, *actions: str) -> AnySelect:
    """Events of the entities with these ids, which are few."""
    events = select(_EVENTS).where(_is_event_of(entity), AuditEvent.entity_id.in_(ids))
    if not actions:
        return events
    return events.where(AuditEvent.action.in_([literal_column(f"'{action}'") for action in actions]))


def _orders_of_porf() -> AnySelect:
    of_line = and_(Allocation.organisation_id == ORGANISATION_ID, Allocation.porf_line_id == PorfLine.id)
    of_order_line = and_(
        PurchaseOrderLine.organisation_id == ORGANISATION_ID,
        PurchaseOrderLine.id == Allocation.purchase_order_line_id,
    )
    return (
        select(PurchaseOrderLine.purchase_order_id)
        .join_from(PorfLine, Allocation, of_line)
        .join(PurchaseOrderLine, of_order_line)
        .where(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == _DOCUMENT_ID)
    )
