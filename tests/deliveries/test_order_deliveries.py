"""Deliveries of orders, through the API and the worker, to a real SMTP server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from po_api.core.mail_url import Tls
from support.feeds import followed, relayed
from support.mail import (
    CUT,
    ORDERS,
    SENDER,
    MailServer,
    add_contact,
    allow_mail,
    certificate,
    deliver,
    deliveries_of,
    let_mail,
    mail_server,
    send_mails,
)
from support.organisations import TestOrganisation, created, ok, perform, refused
from support.polling import Deadline
from support.workers import work_until_idle

Json = dict[str, Any]


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def organisation(organisation: TestOrganisation) -> TestOrganisation:
    await let_mail(organisation)
    return organisation


async def status_of(organisation: TestOrganisation, order_id: int) -> str:
    order = (await ok(organisation.requester.get(f"/purchase-orders/{order_id}"))).json()
    assert order["status"] in {"issued", "cancelled"}
    return str(order["delivery_status"])


async def release(owner: asyncpg.Connection, organisation: TestOrganisation) -> None:
    """Let later attempts be due, and leases end."""
    await owner.execute(
        "UPDATE deliveries SET next_attempt_at = now(), leased_until = NULL"
        " WHERE organisation_id = $1 AND status = 'queued'",
        organisation.organisation_id,
    )


async def events(organisation: TestOrganisation) -> list[tuple[str, Json]]:
    """Type and data of the events about deliveries."""
    await relayed(organisation.database, organisation.organisation_id)
    items, _ = await followed(organisation.auditor)
    return [(item["type"], item["data"]) for item in items if item["entity"] == "delivery"]


async def test_an_order_that_is_issued_with_deliver_is_mailed_with_its_document(
    organisation: TestOrganisation, server: MailServer
) -> None:
    await organisation.change_supplier(language="de")
    order = await organisation.ordered()
    assert order.json()["delivery_status"] == "not_sent"
    body = {"deliver": {"message": "Wie besprochen.", "cc": [ORDERS]}}
    dry = await ok(perform(organisation.buyer, order, "issue", json=body, params={"dry_run": "true"}))
    assert dry.json()["delivery_status"] == "queued"
    assert await deliveries_of(organisation, order.json()["id"]) == []
    key = {"Idempotency-Key": "issue and deliver"}
    issued, again = [await ok(perform(organisation.buyer, order, "issue", json=body, headers=key)) for _ in range(2)]
    assert again.text == issued.text
    order_id, number = issued.json()["id"], issued.json()["number"]
    (queued,) = await deliveries_of(organisation, order_id)
    assert (queued["status"], queued["file_digest"], queued["sent_at"]) == ("queued", None, None)
    assert (queued["reply_to"], queued["locale"]) == (organisation.buyer.email, "de")

    await send_mails(organisation, server.mailer())
    (mail,), (sent,) = server.received, await deliveries_of(organisation, order_id)
    document = (await ok(organisation.buyer.get(f"/purchase-orders/{order_id}/document.pdf"))).content
    assert mail.attachments == [(f"{number}.pdf", "application/pdf", document)]
    assert sent["file_digest"] == hashlib.sha256(document).hexdigest()
    assert (sent["status"], sent["attempts"], sent["error_code"]) == ("sent", 1, None)
    assert sent["sent_at"] is not None
    assert mail.recipients == [ORDERS]
    assert mail.message_id == f"<{sent['message_id']}>"
    token, _, domain = sent["message_id"].partition("@")
    assert mail.sender == f"purchasing+{token}@{domain}"
    expected = {"From": SENDER, "Reply-To": organisation.buyer.email, "To": ORDERS, "Auto-Submitted": "auto-generated"}
    assert {name: str(mail.message[name]) for name in expected} == expected
    assert mail.message["Date"].datetime - datetime.fromisoformat(sent["sent_at"]) < timedelta(minutes=1)
    assert str(mail.message["Subject"]) == f"Bestellung {number}"
    assert mail.text.startswith("Wie besprochen.\n\nSehr geehrte Damen und Herren,\n")
    assert "Gesamtbetrag: 298,80 £" in mail.text.replace("\xa0", " ")
    # Neither a date nor a link: their lines are left out.
    assert "{" not in mail.text
    assert "Liefertermin" not in mail.text

    shown = await ok(organisation.buyer.get(f"/purchase-orders/{order_id}"))
    assert (shown.json()["delivery_status"], shown.json()["version"]) == ("sent", issued.json()["version"])
    assert shown.headers["ETag"] != issued.headers["ETag"]
    found = [kind for kind, data in await events(organisation) if data["purchase_order_id"] == order_id]
    assert found == ["delivery.created", "delivery.sent"]


async def test_an_issue_that_fails_leaves_neither_a_number_nor_a_mail(
    organisation: TestOrganisation, server: MailServer
) -> None:
    """The refusals come in the order of what the buyer has to do about them."""
    order = await organisation.ordered()
    problem = await refused(
        perform(organisation.buyer, order, "issue", json={"deliver": {"cc": ["mallory@else.example"]}}),
        422,
        "unknown_recipient",
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/deliver/cc/0"]
    await allow_mail(organisation, None)
    await refused(perform(organisation.buyer, order, "issue", json={"deliver": {}}), 409, "mail_not_allowed")
    draft = (await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}"))).json()
    assert (draft["status"], draft["number"]) == ("draft", None)
    assert await deliveries_of(organisation, draft["id"]) == []
    waiting = await ok(organisation.buyer.get("/purchase-orders", params={"delivery_status": "queued"}))
    assert waiting.json()["items"] == []
    await allow_mail(organisation)
    await ok(perform(organisation.buyer, order, "issue", json={"deliver": {}}))
    await send_mails(organisation, server.mailer())
    assert len(server.received) == 1


@pytest.mark.heavy
async def test_a_temporary_refusal_is_tried_again_later_and_a_permanent_one_is_not(
    organisation: TestOrganisation, server: MailServer, owner: asyncpg.Connection
) -> None:
    order_id = (await organisation.issued()).json()["id"]
    await deliver(organisation, order_id)
    server.answers.extend(["451 Greylisted"] * 3)
    waits = []
    for attempt in range(1, 5):
        await send_mails(organisation, server.mailer())
        (found,) = await deliveries_of(organisation, order_id)
        assert found["attempts"] == attempt
        if attempt < 4:
            assert (found["status"], found["error_code"]) == ("queued", "mail_deferred")
            assert found["error_detail"] == "451 Greylisted"
            (waited,) = await owner.fetch(
                "SELECT next_attempt_at - now() AS time FROM deliveries WHERE id = $1", found["id"]
            )
            waits.append(waited["time"])
            assert await status_of(organisation, order_id) == "queued"
            await release(owner, organisation)
    assert [-(-wait.total_seconds() // 60) for wait in waits] == [1, 5, 25]
    assert (found["status"], len(server.received)) == ("sent", 1)

    second = await deliver(organisation, order_id)
    server.answers.append("550 5.7.1 Rejected\r\n")
    await send_mails(organisation, server.mailer())
    newest, first = await deliveries_of(organisation, order_id)
    assert (newest["id"], newest["status"], newest["attempts"]) == (second["id"], "failed", 1)
    assert (newest["error_code"], newest["error_detail"]) == ("mail_refused", "550 5.7.1 Rejected")
    assert first == found
    assert await status_of(organisation, order_id) == "failed"
    (failed,) = [data for kind, data in await events(organisation) if kind == "delivery.failed"]
    assert (failed["status"], failed["error_code"]) == ("failed", "mail_refused")

    again = (await ok(organisation.buyer.post(f"/deliveries/{second['id']}/retry"))).json()
    assert (again["status"], again["attempts"], again["message_id"]) == ("queued", 0, second["message_id"])
    await send_mails(organisation, server.mailer())
    assert server.received[-1].message_id == f"<{second['message_id']}>"
    assert await status_of(organisation, order_id) == "sent"
    await refused(organisation.buyer.post(f"/deliveries/{second['id']}/retry"), 409, "delivery_not_retryable")


async def test_what_is_not_known_to_have_arrived_is_sent_again_as_the_same_mail(
    organisation: TestOrganisation, server: MailServer, owner: asyncpg.Connection
) -> None:
    order_id = (await organisation.issued()).json()["id"]
    delivery = await deliver(organisation, order_id)
    server.answers.append(CUT)
    await send_mails(organisation, server.mailer())
    (found,) = await deliveries_of(organisation, order_id)
    assert (found["status"], found["error_code"]) == ("queued", "mail_server_unavailable")
    await release(owner, organisation)
    await send_mails(organisation, server.mailer())
    assert [mail.message_id for mail in server.received] == [f"<{delivery['message_id']}>"] * 2
    (found,) = await deliveries_of(organisation, order_id)
    assert (found["status"], found["attempts"]) == ("sent", 2)


async def test_a_mail_that_is_being_sent_is_neither_cancelled_nor_sent_twice(
    organisation: TestOrganisation, server: MailServer
) -> None:
    order_id = (await organisation.issued()).json()["id"]
    waiting, sending = [await deliver(organisation, order_id) for _ in range(2)]
    assert await ok(organisation.buyer.post(f"/deliveries/{waiting['id']}/cancel"))
    await refused(organisation.buyer.post(f"/deliveries/{waiting['id']}/cancel"), 409, "delivery_not_cancellable")
    server.waits = asyncio.Event()
    first = asyncio.create_task(send_mails(organisation, server.mailer(seconds=60)))
    deadline = Deadline("the mail at the server")
    while not server.received:
        deadline.check()
        await asyncio.sleep(0.01)
    found = (await ok(organisation.admin.get(f"/deliveries/{sending['id']}"))).json()
    assert found["status"] == "sending"
    listed = (await ok(organisation.admin.get("/deliveries", params={"status": "sending"}))).json()["items"]
    assert [item["id"] for item in listed] == [sending["id"]]
    await refused(organisation.buyer.post(f"/deliveries/{sending['id']}/cancel"), 409, "delivery_not_cancellable")
    await send_mails(organisation, server.mailer())
    server.waits.set()
    await first
    assert len(server.received) == 1
    assert [item["status"] for item in await deliveries_of(organisation, order_id)] == ["sent", "cancelled"]


async def test_recipients_are_refused_one_by_one(
    organisation: TestOrganisation, server: MailServer, owner: asyncpg.Connection
) -> None:
    await add_contact(organisation, "gone@supplier.example")
    await add_contact(organisation, "invoices@supplier.example", purpose="invoices")
    order_id = (await organisation.issued()).json()["id"]
    await deliver(organisation, order_id)
    server.refused["gone@supplier.example"] = "550 No such user"
    await send_mails(organisation, server.mailer())
    (found,) = await deliveries_of(organisation, order_id)
    assert (found["status"], found["error_code"]) == ("sent", "recipients_refused")
    assert found["error_detail"] == "gone@supplier.example: 550 No such user"
    assert [mail.recipients for mail in server.received] == [[ORDERS]]
    # One that is refused for now has all of them wait.
    server.refused["gone@supplier.example"] = "450 Busy"
    await deliver(organisation, order_id)
    await send_mails(organisation, server.mailer())
    assert len(server.received) == 1
    server.refused = dict.fromkeys((ORDERS, "gone@supplier.example"), "550 No")
    await release(owner, organisation)
    await send_mails(organisation, server.mailer())
    newest, _ = await deliveries_of(organisation, order_id)
    assert (newest["status"], newest["error_code"], newest["attempts"]) == ("failed", "recipients_refused", 2)


async def test_the_connection_is_encrypted_by_a_certificate_that_is_trusted(
    organisation: TestOrganisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: asyncpg.Connection
) -> None:
    tls, authority = certificate(tmp_path)
    order_id = (await organisation.issued()).json()["id"]
    for mode in (Tls.STARTTLS, Tls.IMPLICIT):
        async with mail_server(tls, is_implicit=mode is Tls.IMPLICIT) as server:
            await deliver(organisation, order_id)
            await send_mails(organisation, server.mailer(mode))
            found, *_ = await deliveries_of(organisation, order_id)
            expected = {Tls.STARTTLS: "starttls_failed", Tls.IMPLICIT: "mail_server_unavailable"}[mode]
            assert (found["status"], found["error_code"], server.received) == ("queued", expected, [])
            await release(owner, organisation)
            with monkeypatch.context() as patch:
                patch.setenv("SSL_CERT_FILE", str(authority))
                await send_mails(organisation, server.mailer(mode))
            assert len(server.received) == 1


async def test_nothing_is_sent_without_encryption_where_it_is_asked_for(
    organisation: TestOrganisation, server: MailServer
) -> None:
    order_id = (await organisation.issued()).json()["id"]
    await deliver(organisation, order_id)
    await send_mails(organisation, server.mailer(Tls.STARTTLS, username="po", password="secret"))
    (found,) = await deliveries_of(organisation, order_id)
    assert (found["status"], found["error_code"], server.received) == ("queued", "starttls_failed", [])


async def test_the_operators_mail_server_is_not_the_organisations_fault(
    organisation: TestOrganisation, server: MailServer, owner: asyncpg.Connection
) -> None:
    order_id = (await organisation.issued()).json()["id"]
    delivery = await deliver(organisation, order_id)
    for mailer, code in (
        (MailServer(port=1).mailer(), "mail_server_unavailable"),
        (server.mailer(username="po", password="wrong"), "mail_credentials_refused"),
    ):
        await send_mails(organisation, mailer)
        (found,) = await deliveries_of(organisation, order_id)
        assert (found["status"], found["error_code"]) == ("queued", code)
        await release(owner, organisation)
    await allow_mail(organisation, None)
    await send_mails(organisation, server.mailer(username="po", password="secret"))
    (found,) = await deliveries_of(organisation, order_id)
    assert (found["status"], found["error_code"]) == ("held", "mail_not_allowed")
    retry = f"/deliveries/{delivery['id']}/retry"
    await refused(organisation.buyer.post(retry), 409, "mail_not_allowed")
    await allow_mail(organisation)
    await ok(organisation.buyer.post(retry))
    await send_mails(organisation, server.mailer(username="po", password="secret"))
    assert len(server.received) == 1


async def test_recipients_are_those_of_the_supplier(organisation: TestOrganisation, server: MailServer) -> None:
    other = await add_contact(organisation, "other@supplier.example")
    invoices = await add_contact(organisation, "invoices@supplier.example", purpose="invoices")
    order = await organisation.issued()
    path = f"/purchase-orders/{order.json()['id']}/deliveries"
    problem = await refused(
        organisation.buyer.post(
            path,
            etag="*",
            json={"contact_ids": [other, invoices], "to": ["x@else.example"], "cc": [ORDERS, "y@else.example"]},
        ),
        422,
        "unknown_recipient",
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/contact_ids/1", "/to/0", "/cc/1"]
    both = [ORDERS, "other@supplier.example"]
    one = await deliver(organisation, order.json()["id"], contact_ids=[other, other], cc=both)
    assert (one["to_addresses"], one["cc_addresses"]) == (["other@supplier.example"], [ORDERS])
    everyone = await deliver(organisation, order.json()["id"])
    assert everyone["to_addresses"] == both

    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"allow_other_recipients": True}))
    many = [f"user{number}@else.example" for number in range(9)]
    await refused(
        organisation.buyer.post(path, etag="*", json={"to": many, "cc": ["a@b.example", "c@d.example"]}),
        422,
        "too_many_recipients",
    )
    free = await deliver(organisation, order.json()["id"], to=["bo@exämple.example"])
    await send_mails(organisation, server.mailer())
    assert free["to_addresses"] == ["bo@exämple.example"]
    assert server.received[-1].recipients == ["bo@xn--exmple-cua.example"]


async def test_an_order_whose_supplier_has_no_address_is_not_sent(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        "UPDATE supplier_contacts SET is_active = false WHERE organisation_id = $1", organisation.organisation_id
    )
    await organisation.change_supplier(email=None)
    order = await organisation.ordered()
    await refused(perform(organisation.buyer, order, "issue", json={"deliver": {}}), 409, "no_recipient")
    issued = await ok(perform(organisation.buyer, order, "issue"))
    path = f"/purchase-orders/{issued.json()['id']}/deliveries"
    body = {"channel": "manual", "message": "Read to Ms Weber on the phone"}
    # Without a mail, nothing of it.
    for more in ({"subject": "x"}, {"cc": [ORDERS]}, {"message": None}):
        await refused(organisation.buyer.post(path, etag="*", json=body | more), 422, "manual_delivery")
    made = await created(organisation.buyer.post(path, etag=issued.headers["ETag"], json=body))
    told = made.json()
    assert made.headers["Location"] == f"/api/v1/deliveries/{told['id']}"
    assert (told["status"], told["channel"], told["body"]) == ("sent", "manual", body["message"])
    assert (told["requested_by_id"], told["attempts"]) == (organisation.buyer.user_id, 0)
    assert await status_of(organisation, issued.json()["id"]) == "sent"
    await refused(organisation.buyer.post(f"/deliveries/{told['id']}/mark-bounced"), 409, "delivery_not_sent")


@pytest.mark.parametrize(
    "field",
    [
        {"subject": "Order\r\nBcc: victim@else.example"},
        {"cc": ["a@b.example\r\nBcc: victim@else.example"]},
        {"to": ["Mallory <mallory@else.example>"]},
        {"cc": ["<mallory@else.example>"]},
        {"to": ["a@b.example,c@d.example"]},
        {"to": ["a@b.example"] * 11},
        {"message": "\x00"},
    ],
)
async def test_headers_cannot_be_injected(organisation: TestOrganisation, field: Json) -> None:
    order_id = (await organisation.issued()).json()["id"]
    path = f"/purchase-orders/{order_id}/deliveries"
    await refused(organisation.buyer.post(path, etag="*", json=field), 422, "validation_failed")


async def test_only_issued_orders_are_sent(organisation: TestOrganisation, server: MailServer) -> None:
    draft = await organisation.ordered()
    path = f"/purchase-orders/{draft.json()['id']}/deliveries"
    await refused(organisation.buyer.post(path, etag="*"), 409, "invalid_transition")
    await refused(organisation.buyer.post(path), 428, "if_match_required")
    issued = await ok(perform(organisation.buyer, draft, "issue"))
    await refused(organisation.buyer.post(path, etag=draft.headers["ETag"]), 412, "stale_version")
    await created(organisation.buyer.post(path, etag=issued.headers["ETag"]))
    # What was not sent yet is not sent any more.
    await ok(perform(organisation.buyer, issued, "cancel"))
    await send_mails(organisation, server.mailer())
    (found,) = await deliveries_of(organisation, draft.json()["id"])
    assert (found["status"], server.received) == ("cancelled", [])
    await refused(organisation.buyer.post(f"/deliveries/{found['id']}/retry"), 409, "invalid_transition")


async def test_a_mail_that_has_bounced_is_marked_and_sent_again(
    organisation: TestOrganisation, server: MailServer
) -> None:
    order_id = (await organisation.issued()).json()["id"]
    delivery = await deliver(organisation, order_id)
    await refused(organisation.buyer.post(f"/deliveries/{delivery['id']}/mark-bounced"), 409, "delivery_not_sent")
    await send_mails(organisation, server.mailer())
    bounced = (await ok(organisation.buyer.post(f"/deliveries/{delivery['id']}/mark-bounced"))).json()
    assert bounced["status"] == "bounced"
    assert bounced["sent_at"] < bounced["bounced_at"]
    assert await status_of(organisation, order_id) == "failed"
    listed = (await ok(organisation.buyer.get("/purchase-orders", params={"delivery_status": "failed"}))).json()[
        "items"
    ]
    assert [item["id"] for item in listed] == [order_id]
    # Sent to a better address: the first one stays as it was.
    await deliver(organisation, order_id, contact_ids=[await add_contact(organisation, "better@supplier.example")])
    await send_mails(organisation, server.mailer())
    assert [item["status"] for item in await deliveries_of(organisation, order_id)] == ["sent", "bounced"]
    several = {"delivery_status": ["failed", "sent"]}
    listed = (await ok(organisation.requester.get("/purchase-orders", params=several))).json()["items"]
    assert [(item["id"], item["delivery_status"]) for item in listed] == [(order_id, "sent")]


async def test_a_key_needs_a_scope_of_its_own_to_send(organisation: TestOrganisation) -> None:
    def key(*scopes: str) -> Any:
        return organisation.buyer.post("/api-keys", json={"name": "ERP", "scopes": list(scopes)})

    order = await organisation.ordered()
    path = f"/purchase-orders/{order.json()['id']}/issue"
    for scopes, status in ((["purchase_orders:write"], 403), (["purchase_orders:write", "deliveries:write"], 200)):
        token = (await created(key(*scopes))).json()["key"]
        response = await organisation.buyer.post(
            path, etag="*", json={"deliver": {}}, headers={"Authorization": f"Bearer {token}"}
        )
        assert response.status_code == status, response.text


async def test_the_quota_of_the_day_holds_for_requests_at_once(
    organisation: TestOrganisation, server: MailServer
) -> None:
    await allow_mail(organisation, 3)
    orders = [(await organisation.issued()).json()["id"] for _ in range(2)]

    async def ask(order_id: int) -> httpx.Response:
        return await organisation.buyer.post(f"/purchase-orders/{order_id}/deliveries", etag="*")

    answers = await asyncio.gather(*(ask(order_id) for order_id in orders * 3))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 3
    (problem,) = {answer.json()["code"] for answer in answers if answer.status_code == 429}
    assert problem == "mail_quota"
    assert all(0 < int(answer.headers["Retry-After"]) <= 86401 for answer in answers if answer.status_code == 429)
    await send_mails(organisation, server.mailer())
    assert len(server.received) == 3


async def test_texts_are_those_of_the_organisation(organisation: TestOrganisation, server: MailServer) -> None:
    admin = organisation.admin
    texts = {"subject": "Order {number} (rev. {revision})", "body": "To {supplier}: {total}\nBy {needed_by}\n{braces"}
    unknown = {"en": {"subject": "{link}", "body": "{password}"}}
    problem = await refused(
        admin.patch("/organisations/current", etag="*", json={"mail_templates": unknown}), 422, "unknown_placeholder"
    )
    assert [error["pointer"] for error in problem["errors"]] == [
        "/mail_templates/en/subject",
        "/mail_templates/en/body",
    ]
    changed = await ok(admin.patch("/organisations/current", etag="*", json={"mail_templates": {"en": texts}}))
    assert changed.json()["mail_templates"] == {"en": texts}
    assert (await ok(admin.get("/organisations/current"))).json()["mail_templates"] == {"en": texts}
    order = (await organisation.issued(needed_by="2031-05-06")).json()
    await deliver(organisation, order["id"])
    french = await deliver(organisation, order["id"], locale="fr", subject="Commande")
    await send_mails(organisation, server.mailer())
    english, other = server.received
    assert str(english.message["Subject"]) == f"Order {order['number']} (rev. 1)"
    assert english.text.strip() == "To Müller & Söhne GmbH: £298.80\nBy 6 May 2031\n{braces"
    assert str(other.message["Subject"]) == french["subject"] == "Commande"
    assert "Date de livraison\xa0: 6 mai 2031" in other.text


async def test_the_demo_writes_files_instead(organisation: TestOrganisation, settings: Any) -> None:
    order = (await organisation.issued()).json()
    delivery = await deliver(organisation, order["id"])
    await work_until_idle(organisation)
    token = delivery["message_id"].partition("@")[0]
    path = settings.mail_place.path / f"{order['number']}-{token}.eml"
    assert path.read_bytes().startswith(b"From: purchasing@po.example\r\n")
    assert await status_of(organisation, order["id"]) == "sent"
