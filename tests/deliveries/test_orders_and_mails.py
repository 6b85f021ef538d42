"""Mails and the order that they are about: its files, the transaction of its issue, and its end."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import asyncpg
import pytest

from support.electronic_orders import connect
from support.mail import MailServer, deliver, deliveries_of, let_mail, mail_server, send_mails
from support.one_server import one_server
from support.organisations import TestOrganisation, again, ok, perform, refused
from support.polling import until_blocked
from support.repetition import in_turns


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def organisation(organisation: TestOrganisation) -> TestOrganisation:
    await let_mail(organisation)
    return organisation


async def test_the_electronic_order_is_attached_beside_the_document(
    organisation: TestOrganisation, server: MailServer
) -> None:
    await connect(organisation)
    order = (await organisation.issued()).json()
    await deliver(organisation, order["id"])
    await send_mails(organisation, server.mailer())
    # The stored file: what the organisation is called since does not change it.
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"legal_name": "Renamed"}))
    path, number = f"/purchase-orders/{order['id']}/document", order["number"]
    pdf, xml = [(await ok(organisation.buyer.get(f"{path}.{kind}"))).content for kind in ("pdf", "xml")]
    await deliver(organisation, order["id"])
    await send_mails(organisation, server.mailer())
    files = [(f"{number}.pdf", "application/pdf", pdf), (f"{number}.xml", "application/xml", xml)]
    assert [mail.attachments for mail in server.received] == [files, files]
    # Its digest is in the audit trail, that of the PDF on the delivery.
    digests = [hashlib.sha256(content).hexdigest() for content in (pdf, xml)]
    for delivery in await deliveries_of(organisation, order["id"]):
        assert delivery["file_digest"] == digests[0]
        query = {"entity": "delivery", "entity_id": delivery["id"], "action": "delivery.send"}
        (event,) = (await ok(organisation.auditor.get("/audit-events", params=query))).json()["items"]
        assert event["after"]["electronic_digest"] == digests[1]


@asynccontextmanager
async def failing_commits(owner: asyncpg.Connection, organisation_id: int) -> AsyncIterator[None]:
    """Transactions that have inserted a delivery of the organisation fail at their commit."""
    await owner.execute(
        "CREATE FUNCTION fail_delivery() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'forced'; END $$;"
        "CREATE CONSTRAINT TRIGGER fail_delivery AFTER INSERT ON deliveries DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW WHEN (NEW.organisation_id = {organisation_id}) EXECUTE FUNCTION fail_delivery()"
    )
    try:
        yield
    finally:
        await owner.execute("DROP TRIGGER fail_delivery ON deliveries; DROP FUNCTION fail_delivery()")


@one_server("makes a trigger")
async def test_an_issue_that_fails_after_the_mail_was_queued_leaves_nothing(
    organisation: TestOrganisation, server: MailServer, owner: asyncpg.Connection
) -> None:
    order = await organisation.ordered()
    tables = ("deliveries", "mail_quotas", "document_renderings")

    async def rows() -> list[int]:
        own = f"WHERE organisation_id = {organisation.organisation_id}"
        return [await owner.fetchval(f"SELECT count(*) FROM {table} {own}") for table in tables]

    body: dict[str, dict[str, str]] = {"deliver": {}}
    key = {"Idempotency-Key": "issue with a fault"}
    async with failing_commits(owner, organisation.organisation_id):
        await refused(perform(organisation.buyer, order, "issue", json=body, headers=key), 500, "internal_error")
    draft = (await again(organisation.buyer, order)).json()
    assert (draft["status"], draft["number"], draft["version"]) == ("draft", None, order.json()["version"])
    await send_mails(organisation, server.mailer())
    assert (await rows(), server.received) == ([0, 0, 0], [])
    # The same request is made again: nothing has been answered yet, and no number is missing.
    issued = (await ok(perform(organisation.buyer, order, "issue", json=body, headers=key))).json()
    assert issued["number"].endswith("-000001")
    await send_mails(organisation, server.mailer())
    assert (await rows(), len(server.received)) == ([1, 1, 1], 1)


@pytest.mark.parametrize("action", ["cancel", "close"])
async def test_an_order_that_ends_while_its_document_is_rendered(
    organisation: TestOrganisation, server: MailServer, owner: asyncpg.Connection, urls: tuple[str, str], action: str
) -> None:
    """A cancelled order is not sent, and the link of a closed one ends, whatever the worker has read before."""
    order = await organisation.issued()
    order_id = order.json()["id"]
    delivery = await deliver(organisation, order_id)
    async with owner.transaction():
        # Keys of rows that refer to the order can be checked: the worker waits in the queue behind the action.
        locked = "SELECT FROM purchase_orders WHERE organisation_id = $1 AND id = $2 FOR NO KEY UPDATE"
        await owner.fetch(locked, organisation.organisation_id, order_id)
        ending = asyncio.create_task(perform(organisation.buyer, order, action))
        await until_blocked(urls[0])
        sending = asyncio.create_task(send_mails(organisation, server.mailer(public_url="https://po.example")))
        await until_blocked(urls[0], 2)
    await ok(ending)
    await sending
    (found,) = await deliveries_of(organisation, order_id)
    links = await owner.fetch("SELECT expires_at FROM delivery_links WHERE delivery_id = $1", delivery["id"])
    if action == "cancel":
        assert (found["status"], found["error_code"]) == ("failed", "order_not_deliverable")
        assert (server.received, links) == ([], [])
    else:
        assert (found["status"], len(server.received)) == ("sent", 1)
        assert [link["expires_at"] is not None for link in links] == [True]


@in_turns
async def test_actions_at_once_follow_one_another(
    organisation: TestOrganisation, server: MailServer, owner: asyncpg.Connection, turn: int
) -> None:
    """Each begins where the one before has ended, and each mail is counted that is requested."""
    order_id = (await organisation.issued()).json()["id"]
    delivery_id = (await deliver(organisation, order_id))["id"]
    await send_mails(organisation, server.mailer())

    async def act(action: str) -> bool:
        answer = await organisation.buyer.post(f"/deliveries/{delivery_id}/{action}")
        assert answer.status_code in {200, 409}, answer.text
        return answer.status_code == 200

    done = sum(await asyncio.gather(*(act(action) for action in ("mark-bounced", "retry", "cancel") * 3)))
    query = {"entity": "delivery", "entity_id": delivery_id}
    items = (await ok(organisation.auditor.get("/audit-events", params=query))).json()["items"]
    events = sorted(items, key=lambda event: event["id"])
    assert len(events) == 2 + done
    assert all(first["after"]["status"] == then["before"]["status"] for first, then in pairwise(events))
    (found,) = await deliveries_of(organisation, order_id)
    assert found["status"] == events[-1]["after"]["status"]
    requested = [event for event in events if event["action"] in {"delivery.create", "delivery.retry"}]
    used = await owner.fetchval(
        "SELECT sum(used) FROM mail_quotas WHERE organisation_id = $1", organisation.organisation_id
    )
    assert used == len(requested)
    await send_mails(organisation, server.mailer())
    assert len(server.received) == (2 if found["status"] == "queued" else 1)
