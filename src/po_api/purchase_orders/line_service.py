"""The lines of draft orders: what a buyer may change of them within what was approved."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.money import Totals
from po_api.core.offload import offload
from po_api.db.query import TransactionExecutor
from po_api.porfs.allocation import AllocationService
from po_api.porfs.amounts import net_of, totals_of_nets
from po_api.purchase_orders import errors
from po_api.purchase_orders.domain import MACHINE, PurchaseOrderAction, require_tax_category
from po_api.purchase_orders.queries import CHANGEABLE, TAX_CATEGORY, OrderLineRow
from po_api.purchase_orders.read_service import PurchaseOrderReadService
from po_api.purchase_orders.repository import LockedOrder, PurchaseOrderRepository, state_of

LockOrder = Callable[[], Awaitable[LockedOrder]]


@dataclass(frozen=True)
class _Locked:
    """A locked order with its lines, and the one to change."""

    order: LockedOrder
    lines: Sequence[OrderLineRow]
    line: OrderLineRow


class OrderLineService:
    """Changes lines of draft orders; the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._actor = actor
        self._repository = PurchaseOrderRepository(session, actor)
        self._allocation = AllocationService(session, actor)
        self._orders = PurchaseOrderReadService(TransactionExecutor(session), actor)

    async def update(self, order_id: int, line_id: int, values: Mapping[str, object], *, lock_order: LockOrder) -> None:
        """Change a line. Another quantity takes from its request, or gives back to it.

        `lock_order` locks the order, and raises unless the actor may change it now. Raises OrderLineNotFound,
        TaxCategoryMismatch, QuantityExceedsRemaining or AmountTooLarge.
        """
        locked = await self._locked(order_id, line_id, values.get("quantity"), lock_order)
        before, after = merge_patch.differing(locked.line, values)
        if not after:
            return
        line = replace(locked.line, **after)
        require_tax_category(line.tax_rate, line.tax_category, line.tax_exemption_reason)
        line = replace(line, net=net_of(line, locked.order.currency))
        lines = [line if other.id == line_id else other for other in locked.lines]
        totals = await offload(len(lines), _totals, lines, locked.order)
        amounts = {"net": totals.net, "tax": totals.tax, "total": totals.total}
        dates = (other.needed_by for other in lines if other.needed_by is not None)
        state = state_of(locked.order, **amounts, delivery_date=min(dates, default=None))
        row = {name: getattr(line, name) for name in ("id", *TAX_CATEGORY, *CHANGEABLE, "net")}
        changed, totalled = merge_patch.differing(locked.order, amounts)
        await self._repository.change_line(
            state,
            row,
            audit.Change(
                "purchase_order.update_line",
                "purchase_order",
                order_id,
                {"line_id": line_id, **before, **changed},
                {"line_id": line_id, **after, **totalled},
                locked.order.version + 1,
            ),
            now=utc_now(),
        )

    async def _locked(self, order_id: int, line_id: int, quantity: object, lock_order: LockOrder) -> _Locked:
        """The order and its line, locked; with another quantity its request, too, which is locked first."""

        async def lock() -> _Locked:
            order = await lock_order()
            lines = await self._orders.content(order_id)
            return _Locked(order, lines, _line(lines, line_id))

        if not isinstance(quantity, Decimal):
            return await lock()
        # Checked again under the lock. For members who may not edit, the order's requests may not be visible.
        MACHINE.require(PurchaseOrderAction.EDIT, await self._orders.facts(order_id), self._actor)
        line = _line(await self._orders.content(order_id), line_id)

        async def lock_with_change() -> tuple[_Locked, Decimal]:
            locked = await lock()
            return locked, quantity - locked.line.quantity

        return await self._allocation.resize(line.porf_id, line.porf_line_id, lock_holder=lock_with_change)


def _line(lines: Sequence[OrderLineRow], line_id: int) -> OrderLineRow:
    line = next((line for line in lines if line.id == line_id), None)
    if line is None:
        raise errors.OrderLineNotFound
    return line


def _totals(lines: Sequence[OrderLineRow], order: LockedOrder) -> Totals:
    nets = ((line.tax_rate, line.net) for line in lines)
    return totals_of_nets(nets, currency=order.currency, tax_rounding=order.tax_rounding)
