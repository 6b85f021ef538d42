"""Electronic orders: Peppol BIS Order 3 (transaction T01) in UBL 2.1.

The order of the elements is that of the XML Schema, their choice that of
https://docs.peppol.eu/poacc/upgrade-3/syntax/Order/tree/. The result depends on the order alone.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext

from lxml import etree

from po_api.core.currencies import minor_units
from po_api.core.errors import FieldError
from po_api.core.money import round_to_places
from po_api.core.parties import PartySnapshot
from po_api.core.text import plain
from po_api.purchase_orders.documents import DocumentLine
from po_api.purchase_orders.domain import TaxCategory
from po_api.purchase_orders.electronic_order import ElectronicOrder
from po_api.purchase_orders.ubl_rules import findings

CUSTOMISATION = "urn:fdc:peppol.eu:poacc:trns:order:3"
PROFILE = "urn:fdc:peppol.eu:poacc:bis:ordering:3"

_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
_NAMESPACES: Mapping[str, str] = {
    None: f"{_UBL}Order-2",  # type: ignore[dict-item]  # the stubs know no default namespace
    "cac": f"{_UBL}CommonAggregateComponents-2",
    "cbc": f"{_UBL}CommonBasicComponents-2",
}
_CAC, _CBC = (f"{{{_UBL}Common{kind}Components-2}}" for kind in ("Aggregate", "Basic"))
# XML has no place for them, nor have our texts for most others (`core.text`).
_NOT_IN_XML = re.compile("[\ufffe\uffff]")

# An element, or None for one that would be empty, which is not allowed.
Part = etree._Element | None


def document_xml(order: ElectronicOrder) -> bytes | list[FieldError]:
    """The electronic order of an order with a number, or the fields that it lacks. CPU-bound for long orders."""
    if found := findings(order):
        return found
    assert order.number is not None
    assert order.issued_on is not None
    root = etree.Element(f"{{{_UBL}Order-2}}Order", None, _NAMESPACES)
    root.extend(_present(_order(order, order.number, order.issued_on.isoformat())))
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _value(name: str, text: str | None, **attributes: str) -> Part:
    """An element with a text."""
    stripped = (text or "").strip()
    if not stripped:
        return None
    element = etree.Element(f"{_CBC}{name}", attributes, _NAMESPACES)
    element.text = _NOT_IN_XML.sub("\ufffd", stripped)
    return element


def _group(name: str, *parts: Part) -> Part:
    """An element with elements."""
    present = _present(parts)
    if not present:
        return None
    element = etree.Element(f"{_CAC}{name}", None, _NAMESPACES)
    element.extend(present)
    return element


def _present(parts: Iterable[Part]) -> list[etree._Element]:
    return [part for part in parts if part is not None]


def _order(order: ElectronicOrder, number: str, day: str) -> Sequence[Part]:
    parties, totals = order.parties, order.totals
    cost_centres = {line.cost_centre for line in order.lines}
    return (
        _value("CustomizationID", CUSTOMISATION),
        _value("ProfileID", PROFILE),
        _value("ID", number),
        _value("IssueDate", day),
        _value("Note", order.terms),
        _value("DocumentCurrencyCode", order.currency),
        _value("CustomerReference", order.buyer_reference),
        _value("AccountingCost", next(iter(cost_centres)) if len(cost_centres) == 1 else None),
        _group("OriginatorDocumentReference", _value("ID", order.requests[0] if len(order.requests) == 1 else None)),
        _group("BuyerCustomerParty", _party(parties["buyer"], has_tax_scheme=True)),
        _group("SellerSupplierParty", _party(parties["supplier"], has_tax_scheme=False)),
        _group("AccountingCustomerParty", _billing(parties)),
        _delivery(order),
        _delivery_terms(order),
        _group("PaymentTerms", _value("Note", order.payment_terms)),
        _group("TaxTotal", _amount("TaxAmount", totals.tax, order)),
        _group(
            "AnticipatedMonetaryTotal",
            _amount("LineExtensionAmount", totals.net, order),
            _amount("TaxExclusiveAmount", totals.net, order),
            _amount("TaxInclusiveAmount", totals.total, order),
            _amount("PayableAmount", totals.total, order),
        ),
        *(_line(line, order) for line in order.lines),
    )


def _party(party: PartySnapshot, *, has_tax_scheme: bool) -> Part:
    register = {"schemeID": party["company_scheme"]} if party["company_scheme"] else {}
    has_tax_scheme = has_tax_scheme and bool(party["vat_id"])
    return _group(
        "Party",
        _value("EndpointID", party["endpoint_id"], schemeID=party["endpoint_scheme"]),
        _group("PartyName", _value("Name", party["name"])),
        _address("PostalAddress", party, party["address"]),
        _group("PartyTaxScheme", _value("CompanyID", party["vat_id"]), _tax_scheme()) if has_tax_scheme else None,
        _group(
            "PartyLegalEntity",
            _value("RegistrationName", party["legal_name"]),
            _value("CompanyID", party["company_id"], **register),
        ),
        _contact(party["contact_name"], party["contact_phone"], party["contact_email"]),
    )


def _billing(parties: PartySnapshot) -> Part:
    """The buyer at another address."""
    billing = parties["billing"]
    if billing is None:
        return None
    return _group(
        "Party",
        _group("PartyName", _value("Name", billing["name"])),
        _address("PostalAddress", billing, billing["lines"]),
        _group("PartyLegalEntity", _value("RegistrationName", parties["buyer"]["legal_name"])),
        _contact(billing["contact"], billing["phone"], None),
    )


def _delivery(order: ElectronicOrder) -> Part:
    address = order.parties["delivery"]
    if address is None:
        return _group("Delivery", _period(order.delivery_date))
    name, contact = _value("Name", address["name"]), _contact(address["contact"], address["phone"], None)
    recipient = _group("DeliveryParty", _group("PartyName", _value("Name", address["name"])), contact)
    return _group(
        "Delivery",
        _group("DeliveryLocation", name, _address("Address", address, address["lines"])),
        _period(order.delivery_date),
        None if contact is None else recipient,
    )


def _delivery_terms(order: ElectronicOrder) -> Part:
    if order.incoterms is None:
        return None
    place = _group("DeliveryLocation", _value("ID", order.incoterms_place))
    return _group("DeliveryTerms", _value("ID", order.incoterms), place)


def _period(day: date | None) -> Part:
    return _group("RequestedDeliveryPeriod", _value("EndDate", day.isoformat() if day else None))


def _address(name: str, address: PartySnapshot, text: str | None) -> Part:
    """An address, which has a country; its text if there is nothing else."""
    if not address["country"]:
        return None
    has_parts = any(address[part] for part in ("street", "street2", "city", "postal_code", "region"))
    return _group(
        name,
        _value("StreetName", address["street"]),
        _value("AdditionalStreetName", address["street2"]),
        _value("CityName", address["city"]),
        _value("PostalZone", address["postal_code"]),
        _value("CountrySubentity", address["region"]),
        None if has_parts else _group("AddressLine", _value("Line", _one_line(text))),
        _group("Country", _value("IdentificationCode", address["country"])),
    )


def _contact(name: str | None, phone: str | None, email: str | None) -> Part:
    return _group("Contact", _value("Name", name), _value("Telephone", phone), _value("ElectronicMail", email))


def _line(line: DocumentLine, order: ElectronicOrder) -> Part:
    item = _group(
        "LineItem",
        _value("ID", str(line.position)),
        _value("Quantity", plain(line.quantity), unitCode=line.unit),
        _amount("LineExtensionAmount", line.net, order),
        _value("AccountingCost", line.cost_centre),
        _group("Delivery", _period(line.needed_by)),
        _difference(line, order),
        _group("Price", _amount("PriceAmount", line.unit_price, order)),
        _item(line),
    )
    return _group("OrderLine", _value("Note", line.tax_exemption_reason), item)


def _difference(line: DocumentLine, order: ElectronicOrder) -> Part:
    """The discount of a line, or what rounding to the currency's minor unit has added: R024 compares net, price and
    quantity."""
    with localcontext(prec=60):
        gross = round_to_places(line.quantity * line.unit_price, 2)
    if gross == line.net:
        return None
    return _group(
        "AllowanceCharge",
        _value("ChargeIndicator", "true" if line.net > gross else "false"),
        _value(
            "AllowanceChargeReason",
            f"Discount {plain(line.discount_percent)}%" if line.discount_percent else "Rounding",
        ),
        _amount("Amount", abs(line.net - gross), order),
    )


def _item(line: DocumentLine) -> Part:
    text, name = line.description.strip(), _one_line(line.description.strip().splitlines()[0])
    category = line.tax_category or TaxCategory.STANDARD
    percent = None if category == TaxCategory.OUT_OF_SCOPE else plain(line.tax_rate)
    return _group(
        "Item",
        _value("Description", text if text != name else None),
        _value("Name", name),
        _group("SellersItemIdentification", _value("ID", line.sku)),
        _group("ClassifiedTaxCategory", _value("ID", category), _value("Percent", percent), _tax_scheme()),
    )


def _tax_scheme() -> Part:
    return _group("TaxScheme", _value("ID", "VAT"))


def _amount(name: str, amount: Decimal, order: ElectronicOrder) -> Part:
    whole, _, decimals = plain(amount).partition(".")
    decimals = decimals.ljust(min(2, minor_units(order.currency)), "0")
    return _value(name, f"{whole}.{decimals}" if decimals else whole, currencyID=order.currency)


def _one_line(value: str | None) -> str | None:
    return ", ".join(part for line in (value or "").splitlines() if (part := " ".join(line.split()))) or None
