"""The parts of statements that change what belongs to an order besides its lines."""

from sqlalchemy import FromClause, Insert, Update, and_, func, literal_column, null, or_, select, update

from po_api.db.bulk_write import NOW, insert_from
from po_api.db.leases import WorkStatus
from po_api.db.query import ORGANISATION_ID
from po_api.purchase_orders.delivery_models import Delivery, DeliveryLink
from po_api.purchase_orders.domain import LINKS_KEPT, FileKind
from po_api.purchase_orders.models import Allocation, DocumentRendering, PurchaseOrderLine
from po_api.purchase_orders.queries import ORDER_ID


def release() -> Update:
    """Release all allocations of the order."""
    of_order = and_(
        PurchaseOrderLine.organisation_id == ORGANISATION_ID,
        PurchaseOrderLine.id == Allocation.purchase_order_line_id,
        PurchaseOrderLine.purchase_order_id == ORDER_ID,
    )
    return (
        update(Allocation)
        .values(released_quantity=Allocation.quantity)
        .where(Allocation.organisation_id == ORGANISATION_ID, of_order)
    )


def reallocate(rows: FromClause) -> Update:
    """Let the allocations of these lines follow their quantities."""
    return (
        update(Allocation)
        .values(quantity=rows.c.quantity)
        .where(
            Allocation.organisation_id == ORGANISATION_ID,
            Allocation.purchase_order_line_id == rows.c.id,
            Allocation.quantity != rows.c.quantity,
        )
    )


def queue(kind: FileKind, orders: FromClause) -> Insert:
    """Queue the rendering of a document of each of the orders, whose ids and revisions are in `orders`."""
    return insert_from(DocumentRendering.__table__, orders, kind=literal_column(f"'{kind}'"), next_attempt_at=NOW)


def cancel_deliveries() -> Update:
    """Do not send what waits to be sent of the order; a mail that is being sent at this moment cannot be stopped."""
    return (
        update(Delivery)
        .values(status=str(WorkStatus.CANCELLED), next_attempt_at=null(), leased_until=null(), finished_at=func.now())
        .where(
            Delivery.organisation_id == ORGANISATION_ID,
            Delivery.purchase_order_id == ORDER_ID,
            Delivery.status.in_((str(WorkStatus.QUEUED), str(WorkStatus.HELD))),
            or_(Delivery.leased_until.is_(None), Delivery.leased_until <= func.now()),
        )
    )


def end_links() -> Update:
    """Let the links of the order end, some time from now."""
    theirs = select(Delivery.id).where(
        Delivery.organisation_id == ORGANISATION_ID, Delivery.purchase_order_id == ORDER_ID
    )
    return (
        update(DeliveryLink)
        .values(expires_at=func.now() + LINKS_KEPT)
        .where(
            DeliveryLink.organisation_id == ORGANISATION_ID,
            DeliveryLink.delivery_id.in_(theirs),
            DeliveryLink.expires_at.is_(None),
        )
    )
