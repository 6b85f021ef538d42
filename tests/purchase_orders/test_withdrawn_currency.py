"""Documents in a currency that was withdrawn after their time: read in every form, but nothing new is made of them."""

from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.organisations import (
    LINE,
    Member,
    TestOrganisation,
    act,
    again,
    created,
    new_organisation,
    ok,
    perform,
    refused,
)

WITHDRAWN = "BGN"


async def _withdraw(owner: asyncpg.Connection, organisation: TestOrganisation) -> None:
    """Make the organisation's documents those of a time when the currency was current."""
    for table in ("porfs", "purchase_orders"):
        await owner.execute(
            f"UPDATE {table} SET currency = $1 WHERE organisation_id = $2", WITHDRAWN, organisation.organisation_id
        )


async def _read_everything(member: Member, path: str, export: str | None) -> dict[str, Any]:
    """All representations of a document; each is 200."""
    shown: dict[str, Any] = (await ok(member.get(path))).json()
    assert shown["currency"] == WITHDRAWN
    assert [tax["tax"] for tax in shown["taxes"]] == ["49.80"]
    kind = path.split("/")[1]
    for query in ("", f"?currency={WITHDRAWN}", f"?currency={WITHDRAWN}&currency=EUR"):
        items = (await ok(member.get(f"/{kind}{query}"))).json()["items"]
        assert shown["id"] in [item["id"] for item in items]
    assert (await ok(member.get(f"/{kind}?currency=EUR"))).json()["items"] == []
    if export is not None:
        for file_type in ("csv", "xlsx"):
            assert (await ok(member.get(f"{path}/{export}?format={file_type}"))).content
        await ok(member.get(f"{path}/history"))
        await ok(member.get(f"{path}/lines"))
    return shown


@pytest.mark.parametrize(
    "status", ["draft", "pending", "approved", "partially_ordered", "ordered", "closed", "rejected"]
)
async def test_a_request_is_read_in_every_status(
    organisation: TestOrganisation, owner: asyncpg.Connection, status: str
) -> None:
    porf = await organisation.in_status(status)
    await _withdraw(owner, organisation)
    shown = await _read_everything(organisation.admin, f"/porfs/{porf.json()['id']}", "export")
    assert shown["status"] == status
    allowed = shown["allowed_actions"]
    assert not any(allowed[action]["allowed"] for action in ("submit", "convert", "copy"))
    assert allowed["copy"]["reason"] == "currency_withdrawn"


async def test_an_issued_order_is_read_and_printed_cancelled_and_closed(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    order = await organisation.issued()
    await _withdraw(owner, organisation)
    path = f"/purchase-orders/{order.json()['id']}"
    await _read_everything(organisation.buyer, path, None)
    assert (await ok(organisation.buyer.get(f"{path}/document.pdf"))).content.startswith(b"%PDF")
    await ok(perform(organisation.buyer, await again(organisation.buyer, order), "close"))


async def test_a_draft_order_is_not_issued_but_cancelled_and_its_request_gets_another_currency(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    order = await organisation.ordered()
    await _withdraw(owner, organisation)
    shown = await again(organisation.buyer, order)
    assert shown.json()["allowed_actions"]["issue"] == {"allowed": False, "reason": "currency_withdrawn"}
    await refused(perform(organisation.buyer, shown, "issue"), 409, "currency_withdrawn")
    await ok(perform(organisation.buyer, shown, "cancel"))
    porf = await ok(organisation.buyer.get(f"/porfs/{shown.json()['lines'][0]['porf_id']}"))
    reopened = await act(organisation.buyer, porf, "reopen")
    path = f"/porfs/{reopened.json()['id']}"
    changed = await ok(organisation.requester.patch(path, etag=reopened.headers["ETag"], json={"currency": "EUR"}))
    await act(organisation.requester, changed, "submit")


async def test_an_approved_request_is_not_ordered(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    pending = await organisation.pending()
    await _withdraw(owner, organisation)
    approved = await act(organisation.approver, await again(organisation.approver, pending), "approve")
    shown = await again(organisation.buyer, approved)
    assert shown.json()["allowed_actions"]["convert"]["reason"] == "currency_withdrawn"
    await refused(organisation.convert(shown), 409, "currency_withdrawn")
    body = {"porf_ids": [shown.json()["id"]]}
    await refused(organisation.buyer.post("/purchase-orders", json=body), 409, "currency_withdrawn")


async def test_a_draft_is_edited_but_neither_submitted_nor_copied(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    draft = await organisation.draft()
    await _withdraw(owner, organisation)
    shown = await again(organisation.requester, draft)
    path = f"/porfs/{shown.json()['id']}"
    await refused(organisation.requester.post(f"{path}/submit", etag=shown.headers["ETag"]), 409, "currency_withdrawn")
    await refused(organisation.requester.post(f"{path}/copy"), 409, "currency_withdrawn")
    line = await created(organisation.requester.post(f"{path}/lines", etag=shown.headers["ETag"], json=LINE))
    assert line.json()["net"] == "249.00"
    # A form sends all fields that it shows.
    whole = {"title": "Other lamps", "currency": WITHDRAWN}
    changed = await ok(organisation.requester.patch(path, etag="*", json=whole))
    assert (changed.json()["title"], changed.json()["currency"]) == ("Other lamps", WITHDRAWN)
    await ok(organisation.requester.patch(path, etag="*", json={"currency": "EUR"}))
    back = organisation.requester.patch(path, etag="*", json=whole)
    (error,) = (await refused(back, 422, "validation_failed"))["errors"]
    assert (error["pointer"], error["code"]) == ("/currency", "withdrawn_currency")


@pytest.mark.parametrize("currency", [WITHDRAWN, "HRK", "DEM"])
async def test_no_document_and_no_organisation_begins_with_it(organisation: TestOrganisation, currency: str) -> None:
    bodies = (
        organisation.requester.post("/porfs", json={"title": "Lamps", "currency": currency}),
        organisation.requester.post(
            "/porfs/import", data={"title": "Lamps", "currency": currency}, files={"file": ("l.csv", b"x")}
        ),
    )
    for body in bodies:
        (error,) = (await refused(body, 422, "validation_failed"))["errors"]
        assert (error["pointer"], error["code"]) == ("/currency", "withdrawn_currency")
        assert "legal tender until 20" in error["detail"]
    own = await ok(organisation.admin.get("/organisations/current"))
    change = organisation.admin.patch("/organisations/current", etag=own.headers["ETag"], json={"currency": currency})
    (error,) = (await refused(change, 422, "validation_failed"))["errors"]
    assert error["code"] == "withdrawn_currency"


async def test_an_organisation_whose_base_currency_it_is_states_another_one(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation = await new_organisation(app, client, currency=WITHDRAWN)
    assert (await ok(organisation.admin.get("/organisations/current"))).json()["currency"] == WITHDRAWN
    settings = {"name": "Renamed", "currency": WITHDRAWN}
    await ok(organisation.admin.patch("/organisations/current", etag="*", json=settings))
    await organisation.member(Role.APPROVER, approval_limit="1000")
    await ok(organisation.admin.get("/users"))
    body = {"title": "Lamps", "supplier_id": organisation.supplier_id, "lines": [LINE]}
    problem = await refused(organisation.requester.post("/porfs", json=body), 422, "withdrawn_currency")
    assert problem["errors"][0]["pointer"] == "/currency"
    assert "2026-01-31" in problem["detail"]
    order = await organisation.issued(currency="EUR")
    assert order.json()["currency"] == "EUR"


async def test_a_filter_by_a_currency_that_never_was_is_refused(organisation: TestOrganisation) -> None:
    for path in ("/porfs", "/purchase-orders"):
        await refused(organisation.buyer.get(f"{path}?currency=XXX"), 422, "validation_failed")
