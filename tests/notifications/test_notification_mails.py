"""Mails about notifications: which follow from what was not read, and what is said in them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import asyncpg
import pytest

from po_api.core.permissions import Role
from po_api.notifications import purging
from support.mail import SENDER, MailServer, allow_mail, mail_server
from support.notifications import (
    due_at,
    let_time_pass,
    notifications_of,
    plan_mails,
    send_notifications,
)
from support.organisations import Member, TestOrganisation, act, created, ok
from support.repetition import in_turns


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def organisation(organisation: TestOrganisation) -> TestOrganisation:
    await allow_mail(organisation)
    return organisation


async def _choose(member: Member, **choices: str) -> None:
    body = {kind: {"email": email} for kind, email in choices.items()}
    await ok(member.patch("/notification-preferences", etag="*", json=body))


async def test_a_mail_is_sent_about_what_was_not_read_within_five_minutes(
    organisation: TestOrganisation, server: MailServer
) -> None:
    approver, second = organisation.approver, await organisation.member(Role.APPROVER)
    pending = (await organisation.pending()).json()
    await plan_mails(organisation, server.mailer())
    (told,) = await notifications_of(approver)
    planned = datetime.fromisoformat(told["created_at"]) + timedelta(minutes=5)
    assert await due_at(organisation) == [("single", "queued", planned)] * 2
    await ok(second.post(f"/notifications/{told['id'] + 1}/read"))
    await send_notifications(organisation, server.mailer())
    (mail,) = server.received
    assert (mail.recipients, str(mail.message["From"]), mail.message["Reply-To"]) == ([approver.email], SENDER, None)
    assert str(mail.message["Subject"]) == f"{pending['number']} (Lamps) is waiting for your approval"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    # A link needs a front end, in which one is signed in.
    assert "http" not in mail.text
    await send_notifications(organisation, server.mailer())
    assert len(server.received) == 1


@pytest.mark.heavy
async def test_what_there_is_nothing_to_do_about_is_not_mailed(
    organisation: TestOrganisation, server: MailServer
) -> None:
    """Decided by another member, not visible any more, nobody's business any more, switched off, gone."""
    names = ("demoted", "buyer", "left", "off")
    members = {
        name: await organisation.member(Role.APPROVER, *([Role.BUYER] if name == "buyer" else [])) for name in names
    }
    await organisation.pending()
    decided = await organisation.pending()
    await plan_mails(organisation, server.mailer())
    assert len(await due_at(organisation)) == 10
    for path, body in (("demoted", {"roles": ["requester"]}), ("buyer", {"roles": ["buyer"]})):
        await ok(organisation.admin.patch(f"/users/{members[path].user_id}", etag="*", json=body))
    await ok(organisation.admin.post(f"/users/{members['left'].user_id}/deactivate", etag="*"))
    await _choose(members["off"], approval_needed="off")
    await _choose(organisation.requester, decided="off")
    await act(organisation.approver, decided, "reject", comment="No")
    await send_notifications(organisation, server.mailer())
    assert [mail.recipients for mail in server.received] == [[organisation.approver.email]]
    assert [status for _, status, _ in await due_at(organisation)] == ["done"] * 10


@in_turns
async def test_a_digest_is_one_mail_whatever_the_number_of_workers(
    organisation: TestOrganisation, server: MailServer, turn: int
) -> None:
    await _choose(organisation.approver, approval_needed="digest")
    for title in ("Lamps", "Chairs", "Desks"):
        await organisation.pending(title=title)
    await asyncio.gather(*(plan_mails(organisation, server.mailer()) for _ in range(2)))
    ((kind, _, due),) = await due_at(organisation)
    assert kind == "digest"
    assert due is not None
    await let_time_pass(organisation)
    await asyncio.gather(*(send_notifications(organisation, server.mailer()) for _ in range(2)))
    (mail,) = server.received
    assert str(mail.message["Subject"]) == "Company: 3 notifications"
    assert [
        line[2:].partition("(")[2].partition(")")[0] for line in mail.text.splitlines() if line.startswith("- ")
    ] == [
        "Lamps",
        "Chairs",
        "Desks",
    ]


async def test_nothing_is_told_twice_and_a_day_without_news_has_no_digest(
    organisation: TestOrganisation, server: MailServer, owner: asyncpg.Connection
) -> None:
    await organisation.approved()
    await _choose(organisation.approver, approval_needed="off")
    await send_notifications(organisation, server.mailer())
    assert [mail.recipients for mail in server.received] == [[organisation.requester.email]]
    assert "was approved" in server.received[0].text
    # The next morning: another digest is planned, and everything was told or read by then.
    yesterday = "UPDATE notification_mails SET key = 'digest:2020-01-01' WHERE organisation_id = $1 AND kind = 'digest'"
    await owner.execute(yesterday, organisation.organisation_id)
    await organisation.approved()
    body = {"before": "2999-01-01T00:00:00Z"}
    await plan_mails(organisation, server.mailer())
    await ok(organisation.requester.post("/notifications/read-all", json=body))
    await send_notifications(organisation, server.mailer())
    assert len(server.received) == 1
    told = "SELECT item_count FROM notification_mails WHERE organisation_id = $1 AND kind = 'digest' ORDER BY id"
    assert [row["item_count"] for row in await owner.fetch(told, organisation.organisation_id)] == [1, 0]


async def test_a_mail_that_was_deferred_is_sent_again_as_the_same(
    organisation: TestOrganisation, server: MailServer
) -> None:
    """In the language of the organisation, with a link to the front end."""
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"language": "de"}))
    pending = (await organisation.pending()).json()
    server.answers += ["cut", "451 Later"]
    mailer = server.mailer(document_url="https://po.example/app")
    for _ in range(4):
        await send_notifications(organisation, mailer)
    first, second = server.received
    assert (first.message_id, first.text) == (second.message_id, second.text)
    assert f"{pending['number']} (Lamps) wartet auf Ihre Genehmigung." in second.text
    assert f"https://po.example/app#/porf/{pending['id']}\n" in second.text
    assert second.message["Content-Language"] == "de"


async def test_organisations_send_what_operators_have_allowed(
    organisation: TestOrganisation, server: MailServer
) -> None:
    """Half of a day's mails is left for orders; without permission there are none."""
    await allow_mail(organisation, per_day=3)
    for _ in range(3):
        await organisation.pending()
    await send_notifications(organisation, server.mailer())
    assert len(server.received) == 2
    await allow_mail(organisation, per_day=None)
    await organisation.pending()
    await send_notifications(organisation, server.mailer())
    assert len(server.received) == 2
    assert [status for _, status, _ in await due_at(organisation)] == ["done"] * 3


async def test_what_is_old_is_deleted(
    own_organisation: TestOrganisation, server: MailServer, own_owner: asyncpg.Connection
) -> None:
    await allow_mail(own_organisation)
    old, new = await own_organisation.pending(), await own_organisation.pending()
    await send_notifications(own_organisation, server.mailer())
    for table in ("notifications", "notification_mails"):
        await own_owner.execute(
            f"UPDATE {table} SET created_at = now() - interval '181 days' WHERE organisation_id = $1 AND id ="
            f" (SELECT min(id) FROM {table} WHERE organisation_id = $1)",
            own_organisation.organisation_id,
        )
    assert await purging.purge(own_organisation.database) >= 2
    assert [item["entity_id"] for item in await notifications_of(own_organisation.approver)] == [new.json()["id"]]
    assert len(await due_at(own_organisation)) == 1
    assert (await ok(own_organisation.requester.get(f"/porfs/{old.json()['id']}"))).json()["status"] == "pending"
    await created(own_organisation.requester.post(f"/porfs/{old.json()['id']}/comments", json={"text": "Still here"}))
