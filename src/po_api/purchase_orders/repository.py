"""The purchase orders' rows that are changed, as one member of one organisation may see them."""

from collections.abc import Sequence

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.tenancy import Tenant
from po_api.purchase_orders.models import Allocation, PurchaseOrder, PurchaseOrderLine
from po_api.purchase_orders.queries import sees_all, visible


class PurchaseOrderRepository:
    """Named questions about one organisation's orders; each starts from what the member may see."""

    def __init__(self, session: AsyncSession, tenant: Tenant) -> None:
        self._session = session
        self._tenant = tenant

    async def locked(self, order_id: int) -> PurchaseOrder | None:
        statement = (
            select(PurchaseOrder)
            .where(visible(sees_all=sees_all(self._tenant)), PurchaseOrder.id == order_id)
            .params(organisation_id=self._tenant.organisation_id, user_id=self._tenant.user_id)
            .with_for_update(of=PurchaseOrder, key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def allocations(self, order_id: int) -> Sequence[Allocation]:
        statement = (
            select(Allocation)
            .join(
                PurchaseOrderLine,
                and_(
                    PurchaseOrderLine.organisation_id == Allocation.organisation_id,
                    PurchaseOrderLine.id == Allocation.purchase_order_line_id,
                ),
            )
            .where(
                Allocation.organisation_id == self._tenant.organisation_id,
                PurchaseOrderLine.purchase_order_id == order_id,
            )
            .order_by(Allocation.id)
        )
        return (await self._session.scalars(statement)).all()
