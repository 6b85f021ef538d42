"""What a request says reaches the order and its document: a decision for every field, and each decision tried."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pypdf import PdfReader

from po_api.core.records import field_names
from po_api.porfs.content import PorfContent, PositionedLine
from po_api.porfs.schemas import ImportPorfBody, PorfCreate, PorfLineCreate
from support.organisations import TestOrganisation, created, new_organisation, ok, perform


@dataclass(frozen=True)
class Arrival:
    """Where the value of a field arrives: fields of the order and of its line, the text in the document, the column of
    the request's export. `instead` says why it does not reach the document, or nothing at all."""

    order: str | None = None
    line: str | None = None
    printed: str | None = None
    exported: str | None = None
    instead: str = ""


SUPPLIER = "Müller & Söhne GmbH"
HEADER = {
    "title": "Lamps for the fair",
    "justification": "Visitors",
    "cost_centre": "CC-4711",
    "needed_by": "2031-05-06",
}
ADDRESS = {"kind": "delivery", "name": "Warehouse North", "street": "Hafenstraße 12", "city": "Hamburg"}
LINE = {
    "description": "Desk lamp",
    "sku": "LAMP-7",
    "quantity": "12",
    "unit": "KGM",
    "unit_price": "24.905",
    "discount_percent": "12.5",
    "tax_rate": "19",
}
# The line has no date of its own, and thus that of the header.

OF_HEADER = {
    "title": Arrival(line="porf_title", instead="the request's name inside the organisation"),
    "justification": Arrival(instead="for the approvers; the order names the request"),
    "cost_centre": Arrival(order="cost_centres", line="cost_centre", printed="Cost centre CC-4711"),
    "cost_centre_id": Arrival(instead="the lines of the order have it; its code is printed"),
    "needed_by": Arrival(order="delivery_date", line="needed_by", printed="Delivery date 6 May 2031"),
    "delivery_address_id": Arrival(order="delivery_address_id", printed="Warehouse North"),
    "delivery_address": Arrival(order="delivery_address", instead="the other form of the address is printed"),
    "supplier_id": Arrival(order="supplier_id", printed=SUPPLIER),
    "currency": Arrival(order="currency", printed="Currency TND"),
    "tax_rounding": Arrival(order="tax_rounding", instead="the taxes are printed"),
    "total": Arrival(instead="computed from the quantities that are ordered"),
    "lines": Arrival(order="lines", printed="Desk lamp"),
}
OF_LINE = {
    "description": Arrival(line="description", printed="Desk lamp", exported="description"),
    "sku": Arrival(line="sku", printed="SKU LAMP-7", exported="sku"),
    "quantity": Arrival(line="quantity", printed="12 kg", exported="quantity"),
    "unit": Arrival(line="unit", printed="12 kg", exported="unit"),
    "unit_price": Arrival(line="unit_price", printed="24.905", exported="unit_price"),
    "discount_percent": Arrival(line="discount_percent", printed="12.5%", exported="discount_percent"),
    "tax_rate": Arrival(line="tax_rate", printed="19%", exported="tax_rate"),
    "needed_by": Arrival(line="needed_by", printed="Needed by 6 May 2031", exported="needed_by"),
    "category_id": Arrival(line="category_id", exported="category", instead="for the organisation's own reports"),
    "cost_centre_id": Arrival(line="cost_centre_id", exported="cost_centre", instead="its code is printed"),
    "position": Arrival(exported="position", instead="an order numbers its lines itself"),
    "net": Arrival(exported="net", instead="computed from the quantity that is ordered"),
}


def test_every_field_of_a_request_has_a_decision() -> None:
    assert set(OF_HEADER) == set(field_names(PorfContent)) | set(PorfCreate.model_fields)
    assert set(OF_LINE) == set(field_names(PositionedLine)) | set(PorfLineCreate.model_fields)
    assert set(ImportPorfBody.model_fields) - {"file"} <= set(OF_HEADER)
    for field, arrival in (OF_HEADER | OF_LINE).items():
        assert bool(arrival.printed) != bool(arrival.instead), field


@pytest.fixture
async def porf(app: FastAPI, client: httpx.AsyncClient) -> tuple[TestOrganisation, httpx.Response]:
    organisation = await new_organisation(app, client, tax_rounding="line")
    address = await created(organisation.buyer.post("/addresses", json=ADDRESS))
    header = HEADER | {"delivery_address_id": address.json()["id"]}
    made = [
        await created(organisation.admin.post(path, json={"code": code, "name": "Fair"}))
        for path, code in (("/categories", "LIGHT"), ("/cost-centres", HEADER["cost_centre"]))
    ]
    category_id, cost_centre_id = (entry.json()["id"] for entry in made)
    # The cost centre is the header's.
    line = LINE | {"category_id": category_id}
    approved = await organisation.approved(**header, currency="TND", lines=[line])
    assert approved.json()["cost_centre_id"] == cost_centre_id
    return organisation, approved


async def text_of(organisation: TestOrganisation, order: httpx.Response) -> str:
    """The text of the issued order's document, with one space wherever there is white space."""
    document = await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    pages = PdfReader(BytesIO(document.content)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


async def test_every_field_arrives_where_it_was_decided(porf: tuple[TestOrganisation, httpx.Response]) -> None:
    organisation, approved = porf
    request: dict[str, Any] = approved.json()
    order = await ok(perform(organisation.buyer, await created(organisation.convert(approved)), "issue"))
    found, line = order.json(), order.json()["lines"][0]
    text = await text_of(organisation, order)
    for field, arrival in OF_HEADER.items():
        value = request[field]
        if field != "lines":
            assert arrival.order is None or found[arrival.order] in (value, [value]), field
            assert arrival.line is None or line[arrival.line] == value, field
        assert (arrival.printed or "") in text, field
    for field, arrival in OF_LINE.items():
        expected = request["lines"][0][field] or request[field]
        assert arrival.line is None or line[arrival.line] == expected, field
        assert (arrival.printed or "") in text, field
    assert HEADER["justification"] not in text
    assert HEADER["title"] not in text


async def test_every_line_field_is_exported(porf: tuple[TestOrganisation, httpx.Response]) -> None:
    organisation, approved = porf
    file = await ok(organisation.buyer.get(f"/porfs/{approved.json()['id']}/export"))
    columns = file.content.decode("utf-8-sig").splitlines()[0].replace('"', "").split(",")
    assert set(columns) == {arrival.exported for arrival in OF_LINE.values()}


async def test_a_line_keeps_its_own_date_and_the_earliest_is_the_delivery_date(organisation: TestOrganisation) -> None:
    dated = {**LINE, "needed_by": "2031-02-01"}
    porf = await organisation.approved(needed_by="2031-05-06", lines=[LINE, dated])
    order = (await created(organisation.convert(porf))).json()
    assert [line["needed_by"] for line in order["lines"]] == ["2031-05-06", "2031-02-01"]
    assert order["delivery_date"] == "2031-02-01"
    undated = (await created(organisation.convert(await organisation.approved()))).json()
    assert (undated["delivery_date"], undated["cost_centres"], undated["lines"][0]["cost_centre"]) == (None, [], None)


async def test_an_order_has_the_cost_centres_and_dates_of_the_lines_that_it_takes(
    organisation: TestOrganisation,
) -> None:
    one = await organisation.approved(cost_centre="b", needed_by="2031-05-06", lines=[LINE])
    two = await organisation.approved(cost_centre="B", lines=[LINE, {**LINE, "needed_by": "2030-01-01"}])
    three = await organisation.approved(lines=[LINE])
    ids = [porf.json()["id"] for porf in (one, two, three)]
    lines = [{"line_id": porf.json()["lines"][0]["id"]} for porf in (one, two)]
    part = (
        await organisation.buyer.post("/purchase-orders?dry_run=true", json={"porf_ids": ids, "lines": lines})
    ).json()
    assert (part["cost_centres"], part["delivery_date"]) == (["B", "b"], "2031-05-06")
    whole = await created(organisation.buyer.post("/purchase-orders", json={"porf_ids": ids}))
    assert (whole.json()["cost_centres"], whole.json()["delivery_date"]) == (["B", "b"], "2030-01-01")
    assert [line["cost_centre"] for line in whole.json()["lines"]] == ["b", "B", "B", None]
    text = await text_of(organisation, await ok(perform(organisation.buyer, whole, "issue")))
    assert "Cost centres B, b" in text
    # The lines differ, so that each names its own.
    assert text.count("Cost centre B") == 2
    assert text.count("Cost centre b") == 1


@pytest.mark.heavy
async def test_orders_are_found_by_a_cost_centre_of_a_line(organisation: TestOrganisation) -> None:
    ids = {}
    for cost_centre in ("4711", "4712", None):
        porf = await organisation.approved(cost_centre=cost_centre)
        ids[cost_centre] = (await created(organisation.convert(porf))).json()["id"]
    porfs = [await organisation.approved(cost_centre=cost_centre) for cost_centre in ("4711", "9")]
    both = await created(
        organisation.buyer.post("/purchase-orders", json={"porf_ids": [p.json()["id"] for p in porfs]})
    )

    async def listed(**params: Any) -> list[int]:
        page = await ok(organisation.buyer.get("/purchase-orders", params=params))
        return [item["id"] for item in page.json()["items"]]

    assert await listed(cost_centre="4711") == [both.json()["id"], ids["4711"]]
    assert await listed(cost_centre=["4712", "9"]) == [both.json()["id"], ids["4712"]]
    assert await listed(cost_centre="471") == []
    assert await listed(cost_centre="4711", porf_id=porfs[1].json()["id"]) == [both.json()["id"]]
    first = await ok(organisation.buyer.get("/purchase-orders", params={"cost_centre": "4711", "limit": "1"}))
    assert await listed(cost_centre="4711", limit="1", cursor=first.json()["next_cursor"]) == [ids["4711"]]
