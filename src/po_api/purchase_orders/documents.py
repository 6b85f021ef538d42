"""What a purchase order's PDF says; `sheets` writes it in the words of a language, `typesetting` lays it out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from po_api.addresses.domain import printed_address
from po_api.core.money import Totals
from po_api.core.parties import ADDRESS_FIELDS, Language, PartySnapshot, address_lines
from po_api.core.records import extract
from po_api.organisations.domain import Paper
from po_api.organisations.queries import OrganisationRow
from po_api.porfs.amounts import totals_of
from po_api.purchase_orders.document_queries import ApprovalRow
from po_api.purchase_orders.locales import Wording, wording_of
from po_api.purchase_orders.queries import OrderHeaderRow, OrderLineRow


@dataclass(frozen=True)
class Party:
    """The buyer or the supplier at the time of issue; an address may have several lines."""

    name: str
    address: str | None = None
    tax_id: str | None = None
    email: str | None = None
    vat_id: str | None = None
    company_id: str | None = None
    contact: str | None = None
    phone: str | None = None


@dataclass(frozen=True)
class DocumentLine:
    """A line of the order; `unit` is a UN/ECE Rec 20 code, percentages are 0–100, `net` is in the order's currency.

    `tax_category` is a code of UNCL5305.
    """

    position: int
    description: str
    sku: str | None
    quantity: Decimal
    unit: str
    unit_price: Decimal
    discount_percent: Decimal
    tax_rate: Decimal
    net: Decimal
    needed_by: date | None
    cost_centre: str | None = None
    tax_category: str | None = None
    tax_exemption_reason: str | None = None


@dataclass(frozen=True)
class Letterhead:
    """How the buyer's documents look: language, paper, colour (#rrggbb), and the lines at the foot of each page."""

    language: Language = Language.ENGLISH
    paper: Paper = Paper.A4
    accent_colour: str | None = None
    footer_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class PurchaseOrderDocument:
    """The data of a purchase order's PDF, without its number, which is assigned last, and without the logo.

    `issued_on` is None for a draft; `requests` are the numbers of the PORFs that it was created from, `approved_by` who
    approved them and when. `delivery_date` is the earliest date by which a line is needed, `cost_centres` are those of
    the lines.
    """

    revision: int
    issued_on: date | None
    currency: str
    buyer: Party
    supplier: Party
    lines: tuple[DocumentLine, ...]
    totals: Totals
    terms: str | None
    delivery_address: str | None
    requests: tuple[str, ...]
    prepared_by: str | None
    delivery_date: date | None = None
    cost_centres: tuple[str, ...] = ()
    payment_terms: str | None = None
    incoterms: str | None = None
    buyer_reference: str | None = None
    invoice_address: str | None = None
    approved_by: tuple[tuple[str, date], ...] = ()
    letterhead: Letterhead = Letterhead()


@dataclass(frozen=True)
class Source:
    """The rows that a document is made of; `approvals` are those of its requests."""

    order: OrderHeaderRow
    organisation: OrganisationRow
    lines: Sequence[OrderLineRow]
    approvals: Sequence[ApprovalRow] = ()

    @property
    def parties(self) -> PartySnapshot:
        """Buyer, supplier and addresses as JSON objects, which orders of before revision 036 have none of."""
        if self.order.parties is None:
            return {"supplier": {}, "delivery": None, "billing": None}
        found: PartySnapshot = json.loads(self.order.parties)
        return found

    @property
    def language(self) -> Language:
        """The supplier's language, or else the buyer's."""
        return Language(self.parties["supplier"].get("language") or self.organisation.language or Language.ENGLISH)


def document_of(source: Source, issued_at: datetime | None, language: Language) -> PurchaseOrderDocument:
    """The data of the document; its dates are in the organisation's time zone."""
    order, organisation, parties, wording = source.order, source.organisation, source.parties, wording_of(language)
    zone = ZoneInfo(organisation.timezone)
    delivery, billing = (
        address and _address(address, wording) for address in (parties["delivery"], parties["billing"])
    )
    supplier = {**parties["supplier"], "address": order.supplier_address, "tax_id": order.supplier_tax_id}
    paper, colour = Paper(organisation.paper), organisation.accent_colour
    return PurchaseOrderDocument(
        revision=order.revision,
        issued_on=issued_at and issued_at.astimezone(zone).date(),
        currency=order.currency,
        buyer=_party(organisation.name, vars(organisation), wording),
        supplier=_party(order.supplier_name, supplier, wording, order.supplier_email),
        lines=tuple(extract(DocumentLine, line) for line in source.lines),
        totals=totals_of(source.lines, currency=order.currency, tax_rounding=order.tax_rounding),
        terms=order.terms,
        delivery_address=delivery or order.delivery_address,
        invoice_address=billing,
        payment_terms=printed_payment_terms(order, language),
        incoterms=" ".join(part for part in (order.incoterms, order.incoterms_place) if order.incoterms and part),
        buyer_reference=order.buyer_reference,
        delivery_date=order.delivery_date,
        cost_centres=tuple(order.cost_centres),
        requests=tuple(sorted({line.porf_number for line in source.lines})),
        prepared_by=order.created_by_name or None,
        approved_by=tuple((row.name, row.decided_at.astimezone(zone).date()) for row in source.approvals),
        letterhead=Letterhead(language, paper, colour, tuple(organisation.footer_lines)),
    )


def _party(name: str, data: PartySnapshot, wording: Wording, email: str | None = None) -> Party:
    """A party with its registered name, its structured address and its VAT id, if it has them: the name, the text and
    the tax id are printed otherwise."""
    structured = address_lines(_named_country({part: data.get(part) for part in ADDRESS_FIELDS}, wording))
    return Party(
        name=data.get("legal_name") or name,
        address="\n".join(structured) or data.get("address"),
        tax_id=data.get("tax_id"),
        vat_id=data.get("vat_id"),
        company_id=data.get("company_id"),
        contact=data.get("contact_name"),
        email=data.get("contact_email") or email,
        phone=data.get("contact_phone"),
    )


def _address(address: Mapping[str, str | None], wording: Wording) -> str:
    return printed_address(_named_country(address, wording))


def _named_country(address: Mapping[str, str | None], wording: Wording) -> dict[str, str | None]:
    return {**address, "country_name": wording.country(address["country"])}


def printed_payment_terms(order: OrderHeaderRow, language: Language) -> str | None:
    """The terms of payment in words."""
    if order.payment_terms is not None or order.payment_days is None:
        return order.payment_terms
    labels = wording_of(language).labels
    match order.payment_days:
        case 0:
            return labels.immediately
        case 1:
            return labels.day_net
        case days:
            return labels.days_net.format(days=days)
