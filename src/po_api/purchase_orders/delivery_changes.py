"""What the end of an order changes of its deliveries: parts of the statement that cancels or closes it."""

from sqlalchemy import Update, func, null, or_, select, update

from po_api.db.leases import WorkStatus
from po_api.db.query import ORGANISATION_ID
from po_api.purchase_orders.delivery_models import Delivery, DeliveryLink
from po_api.purchase_orders.domain import LINKS_KEPT
from po_api.purchase_orders.queries import ORDER_ID


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
