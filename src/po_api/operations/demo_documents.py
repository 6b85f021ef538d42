"""The requests and orders of the demo organisation: one in every state, made by its members as in real life."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor
from po_api.porfs.actions import PorfActions
from po_api.porfs.allocation import RequestedLine
from po_api.porfs.content import LineInput, PorfInput
from po_api.porfs.domain import PorfAction
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.service import PorfService
from po_api.purchase_orders.service import Conversion, PurchaseOrderService


@dataclass(frozen=True)
class Wish:
    """A request: `cost_centre` is a code; lines are a description, a quantity, a unit and a price, taxed with 20 %."""

    title: str
    cost_centre: str
    supplier: str
    lines: tuple[tuple[str, str, str, str], ...]
    justification: str | None = None
    currency: str | None = None


MUELLER, LUMIERE, THORNBURY = "Müller & Söhne GmbH", "Fournitures Lumière SARL", "Thornbury Office Ltd"
_LAMPS = Wish("Desk lamps for the new office", "1200", LUMIERE, (("Desk lamp, warm white", "12", "C62", "41.50"),))
_LAPTOPS = Wish(
    "Laptops for the design team",
    "3100",
    THORNBURY,
    (("Laptop, 16 inches, 32 GB", "3", "C62", "1599.00"), ("Docking station", "3", "C62", "149.90")),
    "The present ones are five years old and out of warranty.",
)
_CHAIRS = Wish("Chairs for the meeting room", "1200", MUELLER, (("Chair, stackable", "8", "C62", "119.00"),))
_COFFEE = Wish("Espresso machine", "1200", LUMIERE, (("Machine, two groups", "1", "C62", "3450.00"),))
_SHELVES = Wish(
    "Shelves for the archive",
    "2400",
    MUELLER,
    (("Shelf, steel, 200 cm", "10", "C62", "86.40"), ("Assembly", "6", "HUR", "45.00")),
)
_PAPER = Wish(
    "Printer paper, first quarter",
    "1100",
    THORNBURY,
    (("Paper A4, 80 g, box of 5 reams", "40", "C62", "14.95"), ("Toner, black", "4", "C62", "78.20")),
)
_SHOES = Wish("Safety shoes", "2100", MUELLER, (("Safety shoe S3, sizes by list", "14", "PR", "64.90"),))
_FAIR = Wish("Banners for the trade fair", "4000", LUMIERE, (("Banner, 2 m × 4 m", "3", "C62", "220.00"),))
_SCREENS = Wish("Screens for the reception", "1200", THORNBURY, (("Screen, 43 inches", "2", "C62", "389.00"),))
_TOOLS = Wish(
    "Tools for the workshop",
    "2100",
    MUELLER,
    (("Torque wrench, 40-200 Nm", "2", "C62", "129.00"), ("Bit set", "5", "C62", "24.50")),
    currency="EUR",
)


class DemoDocuments:
    """Makes the documents. `members` are the actors by role, `suppliers` the ids by name."""

    def __init__(
        self, session: AsyncSession, members: dict[Role, Actor], suppliers: dict[str, int], listeners: Listeners
    ) -> None:
        self._suppliers = suppliers
        self._listeners = listeners
        self._porfs = PorfService(session, members[Role.REQUESTER])
        self._requested = PorfActions(session, members[Role.REQUESTER], listeners)
        self._decided = PorfActions(session, members[Role.APPROVER], listeners)
        self._bought = PorfActions(session, members[Role.BUYER], listeners)
        self._orders = PurchaseOrderService(session, members[Role.BUYER])
        self._lines = PorfReadService(TransactionExecutor(session), members[Role.BUYER])

    async def make(self) -> None:
        """One request and one order in every state."""
        await self._draft(_LAMPS)
        await self._pending(_LAPTOPS)
        await self._approved(_CHAIRS)
        coffee = await self._pending(_COFFEE)
        await self._decided.perform(PorfAction.REJECT, coffee.id, expected=None, comment="Please get two more offers.")
        fair = await self._pending(_FAIR)
        await self._requested.perform(PorfAction.CANCEL, fair.id, expected=None, comment="The fair was called off.")
        await self._partly_ordered(_SHELVES)
        await self._issued(_PAPER)
        shoes = await self._issued(_SHOES)
        await self._orders.close(shoes.id, expected=None, comment="Delivered completely.")
        screens = await self._issued(_SCREENS)
        await self._orders.cancel(screens.id, expected=None, comment="The supplier cannot deliver in time.")
        tools = await self._partly_ordered(_TOOLS)
        await self._bought.perform(PorfAction.CLOSE, tools, expected=None, comment="The rest is no longer needed.")

    async def _draft(self, wish: Wish) -> JsonDocument:
        return await self._porfs.create(
            PorfInput(
                title=wish.title,
                justification=wish.justification,
                cost_centre=wish.cost_centre,
                cost_centre_id=None,
                needed_by=_in_weeks(4),
                supplier_id=self._suppliers[wish.supplier],
                delivery_address_id=None,
                delivery_address=None,
                currency=wish.currency,
                lines=[_line(*line) for line in wish.lines],
            )
        )

    async def _pending(self, wish: Wish) -> JsonDocument:
        draft = await self._draft(wish)
        return await self._requested.perform(PorfAction.SUBMIT, draft.id, expected=None)

    async def _approved(self, wish: Wish) -> JsonDocument:
        pending = await self._pending(wish)
        return await self._decided.perform(PorfAction.APPROVE, pending.id, expected=None)

    async def _issued(self, wish: Wish) -> JsonDocument:
        approved = await self._approved(wish)
        draft = await self._orders.convert(Conversion([approved.id]))
        return await self._orders.issue(draft.id, expected=None, listeners=self._listeners)

    async def _partly_ordered(self, wish: Wish) -> int:
        """The id of a request of which the first line is in a draft order."""
        approved = await self._approved(wish)
        first, *_ = await self._lines.lines(approved.id)
        lines = [RequestedLine(first.id, None, "")]
        await self._orders.convert(Conversion([approved.id], lines))
        return approved.id


def _line(description: str, quantity: str, unit: str, unit_price: str) -> LineInput:
    return LineInput(
        description=description,
        sku=None,
        quantity=Decimal(quantity),
        unit=unit,
        unit_price=Decimal(unit_price),
        discount_percent=Decimal(0),
        tax_rate=Decimal(20),
        needed_by=None,
        category_id=None,
        cost_centre_id=None,
    )


def _in_weeks(weeks: int) -> date:
    return utc_now().date() + timedelta(weeks=weeks)
