"""The main job, from a file of lines to the supplier's document, step by step through the API."""

from io import BytesIO

from pypdf import PdfReader

from support.organisations import TestOrganisation, act, created, ok


def _csv(rows: int) -> bytes:
    lines = ["description,sku,quantity,unit,unit_price,discount_percent,tax_rate,needed_by"]
    lines += [f"Article {row},SKU-{row},{row},C62,1.25,0,20,2026-12-24" for row in range(1, rows + 1)]
    return "\n".join(lines).encode()


async def test_csv_of_200_lines_becomes_an_issued_order_with_a_document(organisation: TestOrganisation) -> None:
    data = {"title": "Office supplies", "supplier_id": str(organisation.supplier_id)}
    draft = await created(organisation.requester.post("/porfs/import", files={"file": ("l.csv", _csv(200))}, data=data))
    assert draft.headers["ETag"].startswith('"1-')
    assert draft.json()["number"].endswith("-000001")
    # 1.25 × (1 + 2 + … + 200) = 25,125.00, and 20 % of it
    assert (draft.json()["net"], draft.json()["total"]) == ("25125.00", "30150.00")

    pending = await act(organisation.requester, draft, "submit")
    assert pending.headers["ETag"].startswith('"2-')
    inbox = await ok(organisation.approver.get("/porfs", params={"waiting_for_me": "true"}))
    assert [item["id"] for item in inbox.json()["items"]] == [draft.json()["id"]]
    approved = await act(organisation.approver, pending, "approve")
    assert approved.json()["status"] == "approved"

    path = f"/porfs/{draft.json()['id']}"
    order = await created(organisation.buyer.post(f"{path}/purchase-orders", etag=approved.headers["ETag"]))
    assert (order.json()["status"], order.json()["number"], order.json()["total"]) == ("draft", None, "30150.00")
    assert (await ok(organisation.requester.get(path))).json()["status"] == "ordered"

    location = f"/purchase-orders/{order.json()['id']}"
    issued = await ok(organisation.buyer.post(f"{location}/issue", etag=order.headers["ETag"]))
    assert issued.json()["number"].startswith("PO-")
    document = await ok(organisation.buyer.get(f"{location}/document.pdf"))
    assert document.headers["content-type"] == "application/pdf"
    text = "\n".join(page.extract_text() for page in PdfReader(BytesIO(document.content)).pages)
    assert issued.json()["number"] in text
    assert "30,150.00" in text
    assert "Article 200" in text
