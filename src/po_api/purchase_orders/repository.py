"""The purchase orders' rows, as one member of one organisation may see them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.pagination import Keyset, PageOf, PageRequest
from po_api.core.tenancy import Role, Tenant
from po_api.porfs.models import Porf, PorfLine
from po_api.purchase_orders.domain import PurchaseOrderStatus
from po_api.purchase_orders.models import Allocation, PurchaseOrder, PurchaseOrderFile, PurchaseOrderLine
from po_api.users.models import User

SORTS = ("created_at", "updated_at", "total")
_KEYSET = Keyset(
    {name: getattr(PurchaseOrder, name) for name in SORTS}, id_column=PurchaseOrder.id, default="-created_at"
)


@dataclass(frozen=True)
class PurchaseOrderFilters:
    """What a list of orders can be narrowed to; several values of one mean any of them, `_lt` excludes its bound."""

    status: Collection[PurchaseOrderStatus] = ()
    supplier_id: Collection[int] = ()
    currency: Collection[str] = ()
    number: Collection[str] = ()
    porf_id: Collection[int] = ()
    bounds: Mapping[str, datetime] = field(default_factory=dict)
    q: str | None = None


class PurchaseOrderRepository:
    """Named questions about one organisation's orders; each starts from what the member may see."""

    def __init__(self, session: AsyncSession, tenant: Tenant) -> None:
        self._session = session
        self._tenant = tenant

    def _visible(self) -> ColumnElement[bool]:
        """Requesters see the orders that hold something of their requests, the others all."""
        mine = PurchaseOrder.organisation_id == self._tenant.organisation_id
        if self._tenant.sees_all or self._tenant.has(Role.APPROVER):
            return mine
        return and_(mine, _holds(Porf.requester_id == self._tenant.user_id))

    def _headers(self) -> Select[Any]:
        lines = and_(
            PurchaseOrderLine.organisation_id == PurchaseOrder.organisation_id,
            PurchaseOrderLine.purchase_order_id == PurchaseOrder.id,
        )
        count = select(func.count()).where(lines).correlate(PurchaseOrder).scalar_subquery()
        return (
            select(*PurchaseOrder.__table__.columns, User.name.label("created_by_name"), count.label("line_count"))
            .join(User, User.id == PurchaseOrder.created_by_id)
            .where(self._visible())
        )

    async def page(self, filters: PurchaseOrderFilters, request: PageRequest) -> PageOf[Row[Any]]:
        return await _KEYSET.page(self._session, self._headers().where(*self._conditions(filters)), request)

    @staticmethod
    def _conditions(filters: PurchaseOrderFilters) -> list[ColumnElement[bool]]:
        conditions = [
            getattr(PurchaseOrder, name).in_(values)
            for name in ("status", "supplier_id", "currency", "number")
            if (values := getattr(filters, name))
        ]
        for name, bound in filters.bounds.items():
            attribute, _, comparison = name.rpartition("_")
            compared = getattr(PurchaseOrder, attribute)
            conditions.append(compared >= bound if comparison == "gte" else compared < bound)
        if filters.porf_id:
            conditions.append(_holds(Porf.id.in_(filters.porf_id)))
        if filters.q is not None:
            found = func.search_purchase_orders(filters.q).column_valued("found")
            conditions.append(PurchaseOrder.id.in_(select(found)))
        return conditions

    async def header(self, order_id: int) -> Any:
        """One row of what `page` lists; None if there is none to be seen."""
        return (await self._session.execute(self._headers().where(PurchaseOrder.id == order_id))).one_or_none()

    async def locked(self, order_id: int) -> PurchaseOrder | None:
        statement = (
            select(PurchaseOrder)
            .where(self._visible(), PurchaseOrder.id == order_id)
            .with_for_update(of=PurchaseOrder, key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def lines(self, order_id: int) -> Sequence[Any]:
        """The lines in the order of their positions, each with the request's line that it takes from."""
        statement = (
            select(
                *PurchaseOrderLine.__table__.columns,
                Allocation.porf_line_id,
                Allocation.released_quantity,
                Porf.id.label("porf_id"),
                Porf.number.label("porf_number"),
            )
            .join(
                Allocation,
                and_(
                    Allocation.organisation_id == PurchaseOrderLine.organisation_id,
                    Allocation.purchase_order_line_id == PurchaseOrderLine.id,
                ),
            )
            .join(PorfLine, _same(PorfLine, PorfLine.id == Allocation.porf_line_id))
            .join(Porf, _same(Porf, Porf.id == PorfLine.porf_id))
            .where(
                PurchaseOrderLine.organisation_id == self._tenant.organisation_id,
                PurchaseOrderLine.purchase_order_id == order_id,
            )
            .order_by(PurchaseOrderLine.position)
        )
        return (await self._session.execute(statement)).all()

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

    async def file(self, order_id: int, revision: int) -> bytes | None:
        statement = select(PurchaseOrderFile.content).where(
            PurchaseOrderFile.organisation_id == self._tenant.organisation_id,
            PurchaseOrderFile.purchase_order_id == order_id,
            PurchaseOrderFile.revision == revision,
        )
        return await self._session.scalar(statement)


def _same(entity: Any, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(entity.organisation_id == Allocation.organisation_id, condition)


def _holds(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the order of the outer query holds something of a request that fulfils `condition`."""
    return (
        select(true())
        .select_from(PurchaseOrderLine)
        .join(
            Allocation,
            and_(
                Allocation.organisation_id == PurchaseOrderLine.organisation_id,
                Allocation.purchase_order_line_id == PurchaseOrderLine.id,
            ),
        )
        .join(PorfLine, _same(PorfLine, PorfLine.id == Allocation.porf_line_id))
        .join(Porf, _same(Porf, Porf.id == PorfLine.porf_id))
        .where(
            PurchaseOrderLine.organisation_id == PurchaseOrder.organisation_id,
            PurchaseOrderLine.purchase_order_id == PurchaseOrder.id,
            condition,
        )
        .correlate(PurchaseOrder)
        .exists()
    )
