"""What a supplier does with a link: confirm that the order was read."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.clock import utc_now
from po_api.db.query import TransactionExecutor
from po_api.deliveries.link_queries import LinkQueries, supplier_actor
from po_api.deliveries.links import LinkToken
from po_api.purchase_orders.delivery_models import DeliveryLink


class LinkService:
    """Records what suppliers do; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, token: LinkToken) -> None:
        self._session = session
        self._token = token
        self._queries = LinkQueries(TransactionExecutor(session), token)

    async def view(self, name: str) -> None:
        """Record once who has read the order. Raises SupplierLinkNotFound."""
        order = await self._queries.order()
        statement = (
            select(DeliveryLink)
            .where(DeliveryLink.organisation_id == self._token.organisation_id, DeliveryLink.id == order.link_id)
            .with_for_update(key_share=True)
        )
        link = (await self._session.scalars(statement)).one()
        if link.viewed_at is not None:
            return
        link.viewed_at, link.viewed_by_name = utc_now(), name
        values = {"purchase_order_id": order.purchase_order_id, "viewed_by_name": name}
        change = audit.Change("delivery.view", "delivery", order.delivery_id, None, values)
        await audit.record(self._session, supplier_actor(self._token.organisation_id), change)
