"""Links for suppliers: an order is read with the secret of its mail, and nothing else is."""

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.purchase_orders.labels import LABELS
from po_api.settings import Settings
from support.applications import application_on, client_of
from support.feeds import followed, relayed
from support.mail import MailServer, deliver, let_mail, mail_server, send_mails
from support.organisations import LINE, PREFIX, TestOrganisation, new_organisation, ok, perform, refused

Json = dict[str, Any]
CURRENT = f"{PREFIX}/supplier-links/current"
LINK = re.compile(r"https://po\.example/supplier#([0-9]+\.[A-Za-z0-9_-]{43})")


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def organisation(organisation: TestOrganisation) -> TestOrganisation:
    await let_mail(organisation)
    return organisation


async def mailed(organisation: TestOrganisation, server: MailServer, **fields: Any) -> tuple[httpx.Response, str]:
    """An issued order that was mailed, and the token of the link in the mail."""
    order = await organisation.issued(**fields)
    await deliver(organisation, order.json()["id"])
    return order, await token_of(organisation, server)


async def token_of(organisation: TestOrganisation, server: MailServer) -> str:
    await send_mails(organisation, server.mailer(public_url="https://po.example"))
    found = LINK.search(server.received[-1].text)
    assert found is not None
    return found[1]


async def ask(client: httpx.AsyncClient, token: str, path: str = "", **options: Any) -> httpx.Response:
    method = "POST" if options else "GET"
    return await client.request(method, CURRENT + path, headers={"Supplier-Token": token}, **options)


async def test_a_supplier_reads_an_order_and_says_so(
    organisation: TestOrganisation, server: MailServer, client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    order, token = await mailed(
        organisation, server, cost_centre="4711", justification="Secret", needed_by="2031-05-06"
    )
    path = f"/purchase-orders/{order.json()['id']}"
    for _ in range(5):
        shown = await ok(ask(client, token))
    assert (shown.headers["Cache-Control"], shown.headers["X-Robots-Tag"]) == ("no-store", "noindex")
    read = shown.json()
    assert (read["number"], read["total"], read["locale"]) == (order.json()["number"], "298.80", "en")
    assert (read["buyer_name"], read["viewed_at"]) == ("Company", None)
    assert read["lines"] == [
        {
            **LINE,
            **{"position": 1, "sku": None, "unit": "C62", "unit_price": "24.9", "discount_percent": "0"},
            "net": "249.00",
            "needed_by": "2031-05-06",
        }
    ]
    # Nothing of the organisation but the order.
    assert not re.search(r"4711|Secret|PORF|porf|User|company\.example", shown.text)
    document = await ok(ask(client, token, "/document.pdf"))
    assert document.content == (await ok(organisation.buyer.get(f"{path}/document.pdf"))).content
    assert document.headers["Cache-Control"] == "no-store"
    assert (await ok(organisation.buyer.get(path))).json()["delivery_status"] == "sent"
    (link,) = await owner.fetch("SELECT * FROM delivery_links WHERE organisation_id = $1", organisation.organisation_id)
    assert (link["viewed_at"], link["expires_at"]) == (None, None)
    secret = token.partition(".")[2]
    for table in ("deliveries", "delivery_links"):
        assert secret not in str(await owner.fetch(f"SELECT * FROM {table}"))

    for name in ("Erika Muster", "Somebody else"):
        viewed = (await ok(ask(client, token, "/view", json={"name": name}))).json()
        assert viewed["viewed_by_name"] == "Erika Muster"
    assert viewed["viewed_at"] is not None
    assert (await ok(organisation.buyer.get(path))).json()["delivery_status"] == "viewed"
    listed = await ok(organisation.requester.get("/purchase-orders", params={"delivery_status": "viewed"}))
    assert [item["id"] for item in listed.json()["items"]] == [order.json()["id"]]
    await relayed(organisation.database, organisation.organisation_id)
    items, _ = await followed(organisation.auditor)
    (event,) = [item for item in items if item["type"] == "delivery.viewed"]
    assert event["actor"] == {"kind": "supplier", "id": None, "name": None}
    assert event["data"]["purchase_order_id"] == order.json()["id"]
    for body in ({}, {"name": ""}, {"name": "x" * 256}, {"name": "a\r\nb"}, {"name": "x", "status": "closed"}):
        await refused(ask(client, token, "/view", json=body), 422, "validation_failed")


@pytest.mark.heavy
async def test_what_is_no_valid_link_is_answered_in_one_way(
    organisation: TestOrganisation,
    server: MailServer,
    client: httpx.AsyncClient,
    app: FastAPI,
    owner: asyncpg.Connection,
) -> None:
    order, token = await mailed(organisation, server)
    other = await new_organisation(app, client)
    own, _, secret = token.partition(".")
    _, bounced = await mailed(organisation, server)
    newest = (await ok(organisation.buyer.get("/deliveries"))).json()["items"][0]
    await ok(organisation.buyer.post(f"/deliveries/{newest['id']}/mark-bounced"))
    # Sent again it has another link: somebody else may have the first one.
    await ok(organisation.buyer.post(f"/deliveries/{newest['id']}/retry"))
    again = await token_of(organisation, server)
    assert (await ok(ask(client, again))).json()["viewed_at"] is None
    invalid = [
        "",
        "x",
        f"{own}.{secret[:-1]}{'a' if secret[-1] != 'a' else 'b'}",
        f"{other.organisation_id}.{secret}",
        f"{2**63}.{secret}",
        f"0{token}",
        f"{token}{'x' * 5000}",
        bounced,
    ]
    answers = set()
    for path, options in (("", {}), ("/document.pdf", {}), ("/view", {"json": {"name": "Mallory"}})):
        for text in invalid:
            problem = await refused(ask(client, text, path, **options), 404, "supplier_link_not_found")
            answers.add(tuple((name, problem[name]) for name in ("type", "title", "status", "detail", "code")))
    assert len(answers) == 1
    assert (await ok(ask(client, token))).json()["viewed_at"] is None

    # 90 days after the end of the order.
    await ok(perform(organisation.buyer, order, "close"))
    assert (await ok(ask(client, token))).json()["status"] == "closed"
    row = await owner.fetchrow(
        "SELECT l.id, l.expires_at - now() AS rest FROM delivery_links l"
        " JOIN deliveries d ON d.organisation_id = l.organisation_id AND d.id = l.delivery_id"
        " WHERE d.purchase_order_id = $1",
        order.json()["id"],
    )
    assert row is not None
    assert row["rest"].days == 89
    await owner.execute("UPDATE delivery_links SET expires_at = now() WHERE id = $1", row["id"])
    await refused(ask(client, token), 404, "supplier_link_not_found")


async def test_a_cancelled_order_is_shown_as_cancelled(
    organisation: TestOrganisation, server: MailServer, client: httpx.AsyncClient
) -> None:
    order, token = await mailed(organisation, server)
    await ok(perform(organisation.buyer, order, "cancel"))
    assert (await ok(ask(client, token))).json()["status"] == "cancelled"
    document = await ok(ask(client, token, "/document.pdf"))
    assert "CANCELLED" in document.headers["Content-Disposition"]


async def test_without_a_public_address_there_are_no_links(organisation: TestOrganisation, server: MailServer) -> None:
    order = await organisation.issued()
    await deliver(organisation, order.json()["id"])
    await send_mails(organisation, server.mailer())
    assert "online" not in server.received[-1].text
    assert "#" not in server.received[-1].text


async def test_guesses_are_limited_by_address(urls: tuple[str, str], settings: Settings) -> None:
    limited = settings.model_copy(update={"rate_limit_per_address": "2/day"})
    async with application_on(urls, limited) as app, client_of(app, "192.0.2.77") as client:
        statuses = [(await ask(client, f"1.{'x' * 43}")).status_code for _ in range(3)]
    assert statuses == [404, 404, 429]


@pytest.mark.heavy
async def test_the_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await ok(client.get("/supplier"))
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert (page.headers["X-Robots-Tag"], page.headers["Referrer-Policy"]) == ("noindex", "no-referrer")
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self';")
    for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        await ok(client.get(f"/{name}"))
    await refused(client.get("/supplier/links.py"), 404, "not_found")
    for path in ("/supplier", "/supplier/page.js"):
        await ok(client.head(path))
        assert (await client.options(path)).headers["Allow"] == "GET, HEAD"


async def test_the_page_has_the_words_of_the_document(client: httpx.AsyncClient) -> None:
    script = (await ok(client.get("/supplier/page.js"))).text
    for language, labels in LABELS.items():
        texts = re.search(rf"^  {language}: {{(.*?)^  }},", script, re.DOTALL | re.MULTILINE)
        assert texts is not None
        words = dict(re.findall(r'(\w+): "([^"]*)"', texts[1]))
        names = {"delivery": "delivery_date", "needed": "needed_by", "price": "unit_price"}
        same = ("title", "terms", "description", "quantity", "discount", "tax", "net", "total")
        for word, label in names.items() | {(name, name) for name in same}:
            assert words[word] == getattr(labels, label), language
