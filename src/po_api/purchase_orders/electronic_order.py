"""The content of an issued order that an electronic order is made of: frozen, but for the words of the language."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from po_api.core.money import Totals
from po_api.core.parties import Language, PartySnapshot
from po_api.core.records import extract
from po_api.porfs.amounts import totals_of
from po_api.purchase_orders.documents import DocumentLine, Source, printed_payment_terms


@dataclass(frozen=True)
class ElectronicOrder:
    """An order; `number` and `issued_on` are None for a draft, whose content is what it would be if issued now.

    `parties` are those of the order, empty in orders that were issued before revision 036. `delivery_text` is an
    address in words alone.
    """

    number: str | None
    issued_on: date | None
    currency: str
    parties: PartySnapshot
    lines: tuple[DocumentLine, ...]
    totals: Totals
    terms: str | None
    payment_terms: str | None
    incoterms: str | None
    incoterms_place: str | None
    buyer_reference: str | None
    delivery_text: str | None
    delivery_date: date | None
    requests: tuple[str, ...]


def electronic_order_of(source: Source, timezone: str, language: Language) -> ElectronicOrder:
    """The content of the order; `timezone` is that of its date, `language` that of its terms of payment."""
    order = source.order
    parties = source.parties
    return ElectronicOrder(
        number=order.number,
        issued_on=_day(order.issued_at, timezone),
        currency=order.currency,
        parties=parties,
        lines=tuple(extract(DocumentLine, line) for line in source.lines),
        totals=totals_of(source.lines, currency=order.currency, tax_rounding=order.tax_rounding),
        terms=order.terms,
        payment_terms=printed_payment_terms(order, language),
        incoterms=order.incoterms,
        incoterms_place=order.incoterms_place,
        buyer_reference=order.buyer_reference,
        delivery_text=order.delivery_address if parties["delivery"] is None else None,
        delivery_date=order.delivery_date,
        requests=tuple(sorted({line.porf_number for line in source.lines})),
    )


def _day(moment: datetime | None, timezone: str) -> date | None:
    return moment and moment.astimezone(ZoneInfo(timezone)).date()
