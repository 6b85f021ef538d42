"""`document.xml`: electronic orders of Peppol BIS Order 3, checked by the schema of UBL 2.1 and the rules of T01."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from po_api.core.money import PricedLine, TaxRounding, line_net, taxed
from po_api.purchase_orders.documents import DocumentLine
from po_api.purchase_orders.electronic_order import ElectronicOrder
from po_api.purchase_orders.ubl import document_xml
from support.clusters import connected
from support.electronic_orders import BUYER, CBC, SUPPLIER, connect, full_order, least_order, parsed
from support.invariants import check
from support.order_documents import line
from support.organisations import LINE, TestOrganisation, created, ok, perform, refused


def written(order: ElectronicOrder) -> etree._Element:
    content = document_xml(order)
    assert isinstance(content, bytes), content
    return parsed(content)


def lacking(order: ElectronicOrder) -> list[str]:
    found = document_xml(order)
    assert isinstance(found, list)
    return [each.pointer for each in found]


def ordering(*lines: DocumentLine, currency: str = "EUR") -> ElectronicOrder:
    nets = [(it.tax_rate, it.net) for it in lines]
    totals = taxed(nets, currency=currency, tax_rounding=TaxRounding.DOCUMENT)
    return replace(least_order(), lines=lines, totals=totals, currency=currency)


def values(root: etree._Element, name: str) -> list[str]:
    return [element.text or "" for element in root.iter(f"{CBC}{name}")]


def require_rules(root: etree._Element) -> None:
    """The rules of T01 on amounts: R003, R008, R011, R016, R017, R024, R028, R029, R030."""
    currency = values(root, "DocumentCurrencyCode")
    for element in root.iter():
        if "currencyID" in element.attrib:
            assert [element.get("currencyID")] == currency
            decimals = (element.text or "").partition(".")[2]
            assert element.tag == f"{CBC}PriceAmount" or len(decimals) <= 2
    amounts = {name: [Decimal(value) for value in values(root, name)] for name in ("LineExtensionAmount", "TaxAmount")}
    net, *nets = amounts["LineExtensionAmount"]
    (total,) = (Decimal(value) for value in values(root, "PayableAmount"))
    assert net == sum(nets)
    assert total == net + amounts["TaxAmount"][0] == Decimal(values(root, "TaxInclusiveAmount")[0])
    for item in root.iter("{*}LineItem"):
        allowances = [
            Decimal(values(each, "Amount")[0]) * (1 if values(each, "ChargeIndicator") == ["true"] else -1)
            for each in item.iter("{*}AllowanceCharge")
        ]
        expected = Decimal(values(item, "Quantity")[0]) * Decimal(values(item, "PriceAmount")[0]) + sum(allowances)
        assert abs(Decimal(values(item, "LineExtensionAmount")[0]) - expected) <= Decimal("0.02")
        (category,) = (each for each in item.iter("{*}ClassifiedTaxCategory"))
        (code,), percents = [values(category, "ID")[:1], values(category, "Percent")]
        assert percents or code == "O"
        assert code != "S" or Decimal(percents[0]) > 0


def test_an_order_with_every_field_has_each_in_its_element() -> None:
    root = written(full_order())
    require_rules(root)
    assert root[0].text == "urn:fdc:peppol.eu:poacc:trns:order:3"
    assert root[1].text == "urn:fdc:peppol.eu:poacc:bis:ordering:3"
    texts = [element.text for element in root.iter() if not len(element)]
    for expected in (
        *("PO-2026-000123", "2026-03-12", "04011000-12345-03", "4711", "PORF-2026-000001", "5790000436101"),
        *("Company Limited", "Company", "Hafenstraße 12", "Building C", "20457", "DE", "DE136695976", "732829320"),
        *("Ingrid", "+49 40 1", "i@company.example", "Warehouse North", "Accounts payable, P.O. Box 7", "Will House"),
        *("2026-04-02", "DAP", "Hamburg", "30 days net", "Hydraulic pump", "HP-250", "Discount 12.5%", "Article 196"),
        *("12063.85", "738.47", "12802.32", "1234.5", "3.485", "AE", "Z", "S", "VAT"),
        "Payment within 30 days.\n\nPartial deliveries only after agreement.",
    ):
        assert expected in texts
    units = [element.get("unitCode") for element in root.iter(f"{CBC}Quantity")]
    assert units == ["C62", "LTR", "DAY", "XBX", "C62"]
    assert [element.get("schemeID") for element in root.iter(f"{CBC}EndpointID")] == ["0088", "0192"]
    assert document_xml(full_order()) == document_xml(full_order())


def test_the_least_order_is_valid() -> None:
    root = written(least_order())
    require_rules(root)
    assert len(list(root.iter("{*}Delivery"))) == len(list(root.iter("{*}PaymentTerms"))) == 0
    assert values(root, "Percent") == ["19"]


def test_all_that_is_missing_is_listed() -> None:
    order = full_order()
    empty: dict[str, Any] = {"buyer": {}, "supplier": {}, "delivery": {"country": None}, "billing": {"country": None}}
    names = ("legal_name", "endpoint_scheme", "endpoint_id")
    assert lacking(replace(order, parties=empty, lines=())) == [
        *(f"/parties/buyer/{name}" for name in names),
        *(f"/parties/supplier/{name}" for name in (*names, "country")),
        *("/parties/delivery/country", "/parties/billing/country", "/lines"),
    ]
    # Orders of before revision 036.
    assert len(lacking(replace(order, parties={"supplier": {}, "delivery": None, "billing": None}))) == 7
    text = replace(least_order(), delivery_text="Gate 7")
    assert lacking(text) == ["/delivery_address"]


def changed(party: str, **fields: str | None) -> ElectronicOrder:
    order = least_order()
    return replace(order, parties={**order.parties, party: {**order.parties[party], **fields}})


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"endpoint_scheme": "0088", "endpoint_id": "5790000436102"}, "endpoint_id"),
        ({"endpoint_scheme": "0192", "endpoint_id": "923609017"}, "endpoint_id"),
        ({"endpoint_scheme": "0208", "endpoint_id": "0123456789"}, "endpoint_id"),
        ({"endpoint_scheme": "0007", "endpoint_id": "55667788"}, "endpoint_id"),
        ({"company_scheme": "0088", "company_id": "579000043610"}, "company_id"),
        ({"company_scheme": "0092", "company_id": "1"}, "company_scheme"),
        ({"company_scheme": "9999", "company_id": "1"}, "company_scheme"),
        ({"vat_id": "XI123456789"}, "vat_id"),
        ({"street": "1 High Street"}, "country"),
        ({"address": "1 High Street"}, "country"),
    ],
)
def test_identifiers_and_addresses_that_peppol_refuses_are_named(fields: dict[str, str], pointer: str) -> None:
    assert lacking(changed("buyer", **fields)) == [f"/parties/buyer/{pointer}"]


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"unit": "NPR"}, ["/lines/1/unit"]),
        ({"tax_rate": "0"}, ["/lines/1/tax_category"]),
        ({"description": " \n"}, ["/lines/1/description"]),
    ],
)
def test_lines_that_peppol_refuses_are_named(fields: dict[str, Any], pointers: list[str]) -> None:
    assert lacking(ordering(line(), line(2, **fields))) == pointers


@pytest.mark.parametrize(("price", "found"), [("1.234", 3), ("1.230", 0), ("1.200", 0)])
def test_amounts_with_three_decimals_are_refused_and_not_rounded(price: str, found: int) -> None:
    order = ordering(line(1, "Pump", "1", price, "0", currency="KWD"), currency="KWD")
    order = replace(order, lines=(replace(order.lines[0], tax_category="Z"),))
    if found:
        assert lacking(order) == ["/net", "/total", "/lines/0/net"]
    else:
        assert values(written(order), "PayableAmount") == [price[:-1]]


def test_what_rounding_to_whole_yen_adds_is_a_charge() -> None:
    root = written(ordering(line(1, "Pump", "3", "33.5", "10", currency="JPY"), currency="JPY"))
    require_rules(root)
    assert values(root, "LineExtensionAmount") == ["101", "101"]
    assert (values(root, "ChargeIndicator"), values(root, "Amount")) == (["true"], ["0.5"])


CATEGORIES = st.sampled_from(("Z", "E", "AE", "O", "K", "G"))
QUANTITIES = st.decimals(min_value="0.0001", max_value=10**6, places=4)
CHARACTERS = st.characters(exclude_categories=["Cc", "Cs"])
TEXTS = st.text(CHARACTERS, min_size=1, max_size=50).filter(lambda text: text.strip())


@st.composite
def orders(draw: st.DrawFn) -> ElectronicOrder:
    currency = draw(st.sampled_from(("EUR", "JPY", "USD")))
    lines = []
    for position in range(1, draw(st.integers(1, 4)) + 1):
        rate = draw(st.sampled_from([Decimal(0), Decimal("7.5"), Decimal(19)]))
        discount = draw(st.decimals(min_value=0, max_value=100, places=2))
        priced = PricedLine(draw(QUANTITIES), draw(QUANTITIES), discount, rate)
        made = replace(
            line(position, draw(TEXTS), sku=draw(st.none() | TEXTS)),
            quantity=priced.quantity,
            unit_price=priced.unit_price,
            discount_percent=discount,
            tax_rate=rate,
            net=line_net(priced, currency),
            tax_category=draw(st.sampled_from((None, "S")) if rate else CATEGORIES),
        )
        lines.append(made)
    return replace(ordering(*lines, currency=currency), terms=draw(st.none() | TEXTS), buyer_reference=draw(TEXTS))


@pytest.mark.heavy
@given(orders())
def test_any_order_is_valid_and_keeps_the_rules(order: ElectronicOrder) -> None:
    require_rules(written(order))


def test_texts_are_never_markup() -> None:
    hostile = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>&e; ]]> <cbc:ID>1</cbc:ID> \uffff'
    root = written(replace(ordering(line(1, hostile, sku=hostile)), terms=hostile))
    expected = hostile.replace("\uffff", "\ufffd")
    assert values(root, "Note") == values(root, "Name")[-1:] == [expected]
    assert len(values(root, "ID")) == len(values(written(least_order()), "ID")) + 1


# Through the API


def path_of(order: httpx.Response) -> str:
    return f"/purchase-orders/{order.json()['id']}/document.xml"


async def test_a_draft_says_what_it_lacks_and_the_issued_order_has_it(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    porf = await organisation.approved(lines=[LINE, LINE | {"tax_rate": "0", "unit": "NPR"}])
    draft = await created(organisation.convert(porf))
    problem = await refused(organisation.buyer.get(path_of(draft)), 422, "electronic_order_incomplete")
    assert {(error["location"], error["pointer"]) for error in problem["errors"]} == {
        *(("order", f"/parties/buyer/{name}") for name in BUYER),
        *(("order", f"/parties/supplier/{name}") for name in SUPPLIER),
        *(("order", f"/lines/1/{name}") for name in ("unit", "tax_category")),
    }
    await connect(organisation)
    draft = await organisation.ordered()
    await refused(organisation.buyer.get(path_of(draft)), 409, "not_issued")
    issued = await ok(perform(organisation.buyer, draft, "issue"))
    before = await ok(organisation.requester.get(path_of(issued)))
    root = parsed(before.content)
    require_rules(root)
    number = issued.json()["number"]
    assert (values(root, "ID")[0], values(root, "PayableAmount")) == (number, [issued.json()["total"]])
    assert before.headers["content-type"] == "application/xml"
    assert before.headers["Content-Disposition"] == f'attachment; filename="{number}.xml"'
    await ok(organisation.buyer.get(path_of(issued), headers={"If-None-Match": before.headers["ETag"]}), 304)
    # It is stored beside the document, and does not change with the parties.
    await ok(organisation.buyer.get(path_of(issued).replace("xml", "pdf")))
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"legal_name": "Renamed"}))
    after = await ok(organisation.auditor.get(path_of(issued)))
    assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])
    async with connected(urls[0]) as owner:
        assert await _stored(owner, issued) == {"electronic": before.content}
    await check(urls[0], organisation.organisation_id)


async def _stored(owner: asyncpg.Connection, order: httpx.Response) -> dict[str, bytes]:
    query = "SELECT kind, content FROM purchase_order_files WHERE purchase_order_id = $1 AND kind <> 'issued'"
    return {row["kind"]: row["content"] for row in await owner.fetch(query, order.json()["id"])}


async def test_a_cancelled_order_has_none_but_the_one_that_was_issued(organisation: TestOrganisation) -> None:
    await connect(organisation)
    draft, issued = await organisation.ordered(), await organisation.issued()
    before = await ok(organisation.buyer.get(path_of(issued)))
    for order in (draft, issued):
        await ok(perform(organisation.buyer, order, "cancel", json={"comment": "Too late"}))
    await refused(organisation.buyer.get(path_of(draft)), 409, "not_issued")
    await refused(organisation.buyer.get(path_of(issued)), 409, "electronic_order_cancelled")
    shown = await ok(organisation.buyer.get(path_of(issued), params={"as": "issued"}))
    assert shown.content == before.content


async def test_an_order_that_lacks_something_has_its_document_all_the_same(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    await connect(organisation)
    issued = await organisation.issued(delivery_address="Gate 7")
    await ok(organisation.buyer.get(path_of(issued).replace("xml", "pdf")))
    problem = await refused(organisation.buyer.get(path_of(issued)), 422, "electronic_order_incomplete")
    assert [error["pointer"] for error in problem["errors"]] == ["/delivery_address"]
    async with connected(urls[0]) as owner:
        assert await _stored(owner, issued) == {}
