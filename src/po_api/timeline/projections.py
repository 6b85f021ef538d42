"""The entries of timelines, each kind from its table, with the columns `kind`, `actor_kind`, `actor_id`, `actor_name`,
`code` and `data`, which is JSON."""

from collections.abc import Callable, Mapping

from sqlalchemy import ColumnElement, FromClause, SQLColumnExpression, Text, func, literal_column, select, true

from po_api.core.actor import ActorKind
from po_api.db.json_sql import columns_of, json_object
from po_api.db.query import ORGANISATION_ID, AnySelect
from po_api.history.queries import Redaction, without
from po_api.members.projections import member_name
from po_api.purchase_orders.models import PurchaseOrder
from po_api.timeline.domain import TimelineKind

_INTERNAL = frozenset({"name_key"})
Show = Callable[[FromClause], AnySelect]


def shown_event(kind: TimelineKind, redaction: Redaction) -> Show:
    """Events of the audit trail, with what changed."""
    hidden = redaction.attributes | _INTERNAL

    def show(events: FromClause) -> AnySelect:
        data = {name: without(events.c[name], hidden) for name in ("before", "after")}
        actor = (events.c.actor_kind, events.c.actor_id)
        return _entry(events, kind, events.c.action, actor, data)

    return show


def shown_order_event(events: FromClause) -> AnySelect:
    """Events of the orders of a request, with the order that they are about."""
    number = select(PurchaseOrder.number).where(
        PurchaseOrder.organisation_id == ORGANISATION_ID, PurchaseOrder.id == events.c.entity_id
    )
    data = {"purchase_order_id": events.c.entity_id, "number": number.correlate(events).scalar_subquery()}
    return _entry(events, TimelineKind.ORDER, events.c.action, (events.c.actor_kind, events.c.actor_id), data)


def shown_delivery_event(events: FromClause) -> AnySelect:
    """Events of the deliveries of an order."""
    status = func.coalesce(events.c.after, events.c.before).op("->>")("status")
    data = {"delivery_id": events.c.entity_id, "status": status.cast(Text)}
    return _entry(events, TimelineKind.DELIVERY, events.c.action, (events.c.actor_kind, events.c.actor_id), data)


def shown_decision(decisions: FromClause) -> AnySelect:
    """Decisions of approvers."""
    code = func.concat("porf.", decisions.c.decision)
    data = columns_of(decisions, ("round", "comment"))
    return _entry(decisions, TimelineKind.DECISION, code, _member(decisions.c.approver_id), data)


def shown_comment(entity: str) -> Show:
    """Comments; one that was deleted has no text."""

    def show(comments: FromClause) -> AnySelect:
        data = {
            "comment_id": comments.c.id,
            "text": func.coalesce(comments.c.text, ""),
            **columns_of(comments, ("edited_at", "deleted_at")),
        }
        code = _text(f"{entity}.comment_added")
        return _entry(comments, TimelineKind.COMMENT, code, _member(comments.c.author_id), data)

    return show


def shown_file(entity: str) -> Show:
    """Files that were not deleted."""

    def show(files: FromClause) -> AnySelect:
        data = {"file_id": files.c.id, **columns_of(files, ("comment_id", "name", "media_type", "visibility"))}
        code = _text(f"{entity}.file_added")
        return _entry(files, TimelineKind.FILE, code, _member(files.c.uploaded_by_id), data)

    return show


def _member(user_id: ColumnElement[int]) -> tuple[ColumnElement[str], ColumnElement[int]]:
    return _text(ActorKind.MEMBER), user_id


def _text(value: str) -> ColumnElement[str]:
    return literal_column(f"'{value}'", Text)


def _entry(
    rows: FromClause,
    kind: TimelineKind,
    code: ColumnElement[str],
    actor: tuple[ColumnElement[str], ColumnElement[int]],
    data: Mapping[str, SQLColumnExpression[object]],
) -> AnySelect:
    item, text = json_object("data", data)
    actor_kind, actor_id = actor
    return select(
        _text(kind).label("kind"),
        actor_kind.label("actor_kind"),
        actor_id.label("actor_id"),
        member_name(actor_id).label("actor_name"),
        code.label("code"),
        text.label("data"),
    ).select_from(rows.join(item, true()))
