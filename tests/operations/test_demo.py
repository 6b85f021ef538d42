"""The demo organisation shows what the product can do: a request and an order in every state, a complete document."""

from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from pypdf import PdfReader

from po_api.operations import demo
from po_api.porfs.domain import PorfStatus
from po_api.purchase_orders.domain import PurchaseOrderStatus
from po_api.users.service import UserService
from support.applications import client_of, new_app
from support.clusters import Cluster
from support.invariants import check
from support.migrations import migrated_database
from support.organisations import Member, ok, with_new_session


@pytest.fixture
async def auditor(cluster: Cluster) -> AsyncIterator[Member]:
    """The demo's auditor, in a database of its own, whose invariants hold."""
    async with migrated_database(cluster) as database:
        app = new_app(database.app)
        async with client_of(app) as client:
            async with app.state.database.sessions.begin() as session:
                await demo.seed(session)
                user = await UserService(session).by_email("auditor@demo.example")
            yield await with_new_session(app, Member(client, user.id, user.email, ""))
            await check(database.owner)


async def test_every_state_is_there_and_an_order_is_complete(auditor: Member) -> None:
    porfs = (await ok(auditor.get("/porfs"))).json()["items"]
    assert {porf["status"] for porf in porfs} == set(PorfStatus)
    orders = (await ok(auditor.get("/purchase-orders"))).json()["items"]
    assert {order["status"] for order in orders} == set(PurchaseOrderStatus)
    assert len((await ok(auditor.get("/suppliers"))).json()["items"]) == 3

    laptops = next(porf for porf in porfs if porf["title"].startswith("Laptops"))
    plan = (await ok(auditor.get(f"/porfs/{laptops['id']}/approval-preview"))).json()
    assert [(step["stage"], [person["name"] for person in step["people"]]) for step in plan["steps"]] == [
        (1, []),
        (2, ["Amir Approver"]),
    ]

    issued = next(order for order in orders if order["status"] == "issued")
    assert (await ok(auditor.get(f"/purchase-orders/{issued['id']}"))).json()["warnings"] == []
    document = await ok(auditor.get(f"/purchase-orders/{issued['id']}/document.pdf"))
    text = "\n".join(page.extract_text() for page in PdfReader(BytesIO(document.content)).pages)
    for shown in ("GB123456789", "GB980780684", "Leeds", "Goods entrance", "1100", "30 days"):
        assert shown in text
