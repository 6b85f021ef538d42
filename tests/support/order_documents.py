"""Purchase orders to be typeset."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from po_api.core.fair_queue import Owner
from po_api.core.money import PricedLine, TaxRounding, line_net, totals
from po_api.core.parties import Language
from po_api.organisations.domain import Paper
from po_api.purchase_orders.documents import DocumentLine, Letterhead, Party, PurchaseOrderDocument
from po_api.purchase_orders.domain import CURRENT_TEMPLATE
from po_api.purchase_orders.sheets import Mark, printed, sheet
from po_api.purchase_orders.typesetter import Limits, Order, queue_for, typeset

NUMBER = "PO-2026-000123"
OWNER = Owner(1, 1)
LIMITS = Limits()

BUYER = Party(
    "Northwind Manufacturing GmbH", "Hafenstraße 12\n20457 Hamburg", "DE 811 234 567", "buy@northwind.example"
)
SUPPLIER = Party("Acme Industrial Supplies Ltd", "Unit 7, Riverside Park\nSheffield", "GB 123 4567 89")


def line(
    position: int = 1,
    description: str = "Hydraulic pump",
    quantity: str = "2.0000",
    unit_price: str = "1249.9000",
    tax_rate: str = "19",
    *,
    discount: str = "0",
    unit: str = "C62",
    sku: str | None = None,
    needed_by: date | None = None,
    currency: str = "EUR",
) -> DocumentLine:
    priced = PricedLine(Decimal(quantity), Decimal(unit_price), Decimal(discount), Decimal(tax_rate))
    return DocumentLine(
        position=position,
        description=description,
        sku=sku,
        quantity=priced.quantity,
        unit=unit,
        unit_price=priced.unit_price,
        discount_percent=priced.discount_percent,
        tax_rate=priced.tax_rate,
        net=line_net(priced, currency),
        needed_by=needed_by,
    )


def order(*lines: DocumentLine, currency: str = "EUR") -> PurchaseOrderDocument:
    priced = [PricedLine(it.quantity, it.unit_price, it.discount_percent, it.tax_rate) for it in lines]
    return PurchaseOrderDocument(
        revision=2,
        issued_on=date(2026, 3, 12),
        currency=currency,
        buyer=BUYER,
        supplier=SUPPLIER,
        lines=lines,
        totals=totals(priced, currency=currency, tax_rounding=TaxRounding.DOCUMENT),
        terms="Payment within 30 days.\n\nPartial deliveries only after agreement.",
        delivery_address="Werk 2, Tor B\n21107 Hamburg",
        requests=("PORF-2026-000045", "PORF-2026-000051"),
        prepared_by="Ingrid Sørensen",
    )


def many(count: int) -> PurchaseOrderDocument:
    return order(*(line(n, f"Steel bolt no. {n}.", tax_rate="19" if n % 4 else "7") for n in range(1, count + 1)))


def full(language: Language = Language.ENGLISH, paper: Paper = Paper.A4) -> PurchaseOrderDocument:
    """An order with every field, in a language."""
    lines = (
        replace(line(sku="HP-250", needed_by=date(2026, 4, 2)), tax_category="S", cost_centre="4711"),
        line(2, "Hydraulic oil", "1234.5", "3.485", "7", unit="LTR", discount="12.5"),
        line(3, "Training", "2", "400", "0", unit="DAY"),
        replace(line(4, "Seals", "3", tax_rate="0", unit="XBX"), tax_category="AE", tax_exemption_reason="Article 196"),
        replace(line(5, "Books", "1", tax_rate="0", unit="C62"), tax_category="E", tax_exemption_reason="Article 132"),
    )
    return replace(
        order(*lines),
        buyer=Party(
            "Northwind Manufacturing GmbH",
            "Hafenstraße 12\n20457 Hamburg",
            "12/345/678",
            "buy@northwind.example",
            vat_id="DE136695976",
            company_id="HRB 12345",
            contact="Ingrid Sørensen",
            phone="+49 40 123456",
        ),
        invoice_address="Accounts payable\nPostfach 1234\n20457 Hamburg",
        delivery_date=date(2026, 4, 2),
        cost_centres=("4711",),
        payment_terms="2 % within 10 days",
        incoterms="DAP Hamburg",
        buyer_reference="04011000-12345-03",
        approved_by=(("Ada Approver", date(2026, 3, 11)), ("Bert Boss", date(2026, 3, 12))),
        letterhead=Letterhead(language, paper, "#005a8c", ("Northwind · IBAN DE89 3704 0044 0532 0130 00", "Board: X")),
    )


def printed_order(document: PurchaseOrderDocument, *, number: str | None = NUMBER, mark: Mark | None = None) -> bytes:
    return printed(sheet(document), number=number, mark=mark)


async def rendered(document: PurchaseOrderDocument, limits: Limits = LIMITS) -> bytes:
    """The document, typeset in a worker process."""
    order = Order(printed_order(document), len(document.lines), CURRENT_TEMPLATE)
    async with queue_for(order.lines).turn(OWNER):
        return await typeset(order, limits)
