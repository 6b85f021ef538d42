"""`document.pdf`: rendered once, when it is first read, and stored; marked when the order is cancelled or a draft."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psutil
import pytest
from pypdf import PdfReader

from po_api.core.fair_queue import Owner
from po_api.purchase_orders.typesetter import WORKER_PROGRAM, queue_for
from support.applications import new_app, serving
from support.clusters import connected
from support.images import png
from support.invariants import check
from support.one_server import IS_DISTRIBUTED, plans_of_one_server
from support.organisations import LINE, Member, TestOrganisation, again, created, ok, perform, refused
from support.polling import is_running, running_children, until, wait_until
from support.statements import plan_of, sent_to

pytestmark = pytest.mark.heavy

STORED_BY_ANOTHER = """
    INSERT INTO purchase_order_files (organisation_id, purchase_order_id, revision, content, digest, created_at)
    VALUES ($1, $2, 1, '%PDF of another', encode(sha256('%PDF of another'), 'hex'), now())
"""
OPEN_TRANSACTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'po-api' AND datname = current_database() AND state LIKE 'idle in%'
"""


@pytest.fixture
async def owner(urls: tuple[str, str]) -> AsyncIterator[Any]:
    async with connected(urls[0]) as connection:
        yield connection


def path_of(order: httpx.Response) -> str:
    return f"/purchase-orders/{order.json()['id']}/document.pdf"


def words(document: httpx.Response) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(BytesIO(document.content)).pages).split())


async def stored(owner: Any, order: httpx.Response) -> list[str]:
    """The kinds of the order's stored documents."""
    query = "SELECT kind FROM purchase_order_files WHERE purchase_order_id = $1 ORDER BY kind"
    return [row["kind"] for row in await owner.fetch(query, order.json()["id"])]


@asynccontextmanager
async def frozen_worker(organisation: TestOrganisation) -> AsyncIterator[psutil.Process]:
    """The worker process that typesets the next short order, suspended meanwhile."""
    await ok(organisation.buyer.get(path_of(await organisation.issued())))
    (worker,) = running_children(WORKER_PROGRAM)
    worker.suspend()
    try:
        yield worker
    finally:
        with suppress(psutil.NoSuchProcess):
            worker.resume()


@asynccontextmanager
async def typeset_by_frozen_worker(
    organisation: TestOrganisation, path: str
) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """A request for a document that waits for typesetting, which goes on afterwards."""
    pool: Any = organisation.database.engine.pool
    async with frozen_worker(organisation), sent_to(organisation.database) as sent:
        reading = asyncio.create_task(organisation.buyer.get(path))

        async def has_read() -> bool:
            return (
                any("audit_events" in item.sql or "allocations" in item.sql for item in sent) and pool.checkedout() == 0
            )

        await until(has_read, "a request that has read the order and holds no connection")
        yield reading


# Issued


async def test_issuing_typesets_nothing_and_the_first_reader_stores_the_document(
    organisation: TestOrganisation, owner: Any, urls: tuple[str, str]
) -> None:
    order = await organisation.issued()
    assert await stored(owner, order) == []
    await check(urls[0], organisation.organisation_id)
    first = await ok(organisation.buyer.get(path_of(order)))
    assert await stored(owner, order) == ["issued"]
    await check(urls[0], organisation.organisation_id)
    second = await ok(organisation.auditor.get(path_of(order)))
    assert (second.content, second.headers["ETag"]) == (first.content, first.headers["ETag"])
    assert first.headers["Content-Disposition"] == f'attachment; filename="{order.json()["number"]}.pdf"'
    assert first.headers["Cache-Control"] == "no-store"
    unchanged = organisation.buyer.get(path_of(order), headers={"If-None-Match": first.headers["ETag"]})
    await ok(unchanged, 304)


async def test_a_document_shows_what_was_true_when_its_order_was_issued(
    organisation: TestOrganisation, owner: Any
) -> None:
    """Whatever changes between the issue and the first reading."""
    one, other = [await organisation.issued() for _ in range(2)]
    read = await ok(organisation.buyer.get(path_of(one)))
    await ok(
        organisation.admin.patch(
            "/organisations/current",
            etag="*",
            json={"name": "Renamed", "address": "Elsewhere", "timezone": "Asia/Tokyo"},
        )
    )
    await ok(organisation.admin.patch(f"/users/{organisation.buyer.user_id}", etag="*", json={"name": "Somebody"}))
    await ok(organisation.buyer.patch(f"/suppliers/{organisation.supplier_id}", etag="*", json={"name": "Other"}))
    await owner.execute(
        "UPDATE purchase_order_lines SET description = 'Another' WHERE organisation_id = $1",
        organisation.organisation_id,
    )
    later = words(await ok(organisation.buyer.get(path_of(other))))
    numbers = [(order.json()["number"], order.json()["lines"][0]["porf_number"]) for order in (one, other)]
    expected = words(read)
    for old, new in zip(*numbers, strict=True):
        expected = expected.replace(old, new)
    assert later == expected


async def test_a_document_keeps_logo_language_and_look_of_its_issue(
    organisation: TestOrganisation, owner: Any, urls: tuple[str, str]
) -> None:
    look: dict[str, Any] = {
        "legal_name": "Company Ltd",
        "accent_colour": "#005a8c",
        "paper": "letter",
        "language": "fr",
        "footer_lines": ["Company Ltd · Bank 1"],
    }
    change = {"/organisations/current": look, f"/suppliers/{organisation.supplier_id}": {"language": "de"}}
    for path, fields in change.items():
        await ok(organisation.admin.patch(path, etag="*", json=fields))
    logo = {"file": ("logo.png", png(64, 16))}
    await ok(organisation.admin.put("/organisations/current/logo", etag="*", files=logo))
    draft = await organisation.ordered()
    preview = await ok(organisation.buyer.get(path_of(draft), params={"preview": "true"}))
    one, other = [await ok(perform(organisation.buyer, draft, "issue")), await organisation.issued()]
    read = await ok(organisation.buyer.get(path_of(one)))
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"paper": "a4", "footer_lines": []}))
    await ok(organisation.admin.put("/organisations/current/logo", etag="*", files={"file": ("l.png", png(9, 9))}))
    await ok(organisation.admin.delete("/organisations/current/logo", etag="*"))
    await ok(organisation.buyer.patch(f"/suppliers/{organisation.supplier_id}", etag="*", json={"language": "es"}))
    later = await ok(organisation.buyer.get(path_of(other)))
    await ok(perform(organisation.buyer, one, "cancel", json={"comment": "Too late"}))
    cancelled = await ok(organisation.buyer.get(path_of(one)))
    for document in (preview, read, later, cancelled):
        (page,) = PdfReader(BytesIO(document.content)).pages
        assert round(page.mediabox.width) == 612
        (image,) = page["/Resources"]["/XObject"].values()  # type: ignore[index]
        assert (image["/Width"], image["/Height"]) == (64, 16)
        for part in ("Bestellung", "Besteller Company Ltd", "Company Ltd · Bank 1", "Genehmigt von User "):
            assert part in words(document)
    assert "ENTWURF Entwurf. Dies ist keine Bestellung." in words(preview)
    assert "STORNIERT Storniert am" in words(cancelled)
    await check(urls[0], organisation.organisation_id)
    new = await ok(organisation.buyer.get(path_of(await organisation.issued())))
    assert "Orden de compra" in words(new)
    (page,) = PdfReader(BytesIO(new.content)).pages
    assert (round(page.mediabox.width), len(page.images)) == (595, 0)
    kept = "SELECT count(*) FROM document_logos WHERE organisation_id = $1"
    assert await owner.fetchval(kept, organisation.organisation_id) == 2


async def test_concurrent_first_readers_get_the_same_bytes_and_typeset_once(
    organisation: TestOrganisation, owner: Any
) -> None:
    order = await organisation.issued()
    async with sent_to(organisation.database) as sent:
        readers = [organisation.buyer, organisation.admin, organisation.auditor, organisation.requester] * 3
        answers = await asyncio.gather(*(ok(reader.get(path_of(order))) for reader in readers))
    assert len({answer.content for answer in answers}) == 1
    assert sum("INSERT INTO purchase_order_files" in item.sql for item in sent) == 1
    assert await stored(owner, order) == ["issued"]


async def test_what_another_process_has_stored_is_returned(organisation: TestOrganisation, owner: Any) -> None:
    order = await organisation.issued()
    async with typeset_by_frozen_worker(organisation, path_of(order)) as reading:
        await owner.execute(STORED_BY_ANOTHER, organisation.organisation_id, order.json()["id"])
    assert (await ok(reading)).content == b"%PDF of another"


async def test_a_document_that_was_stored_before_its_turn_came_is_not_typeset(
    organisation: TestOrganisation, owner: Any
) -> None:
    """By another process, or for a reader whose document was stored after this one had looked for it."""
    order = await organisation.issued()
    queue = queue_for(1)
    async with sent_to(organisation.database) as sent:
        async with queue.turn(Owner(0, 0)):
            reading = asyncio.create_task(organisation.buyer.get(path_of(order)))

            async def waits() -> bool:
                return queue.waiting == 1

            await until(waits, "a reader that waits for its turn")
            await owner.execute(STORED_BY_ANOTHER, organisation.organisation_id, order.json()["id"])
        assert (await ok(reading)).content == b"%PDF of another"
    assert not any("purchase_order_sheets" in item.sql or "INSERT" in item.sql for item in sent)


@pytest.mark.parametrize("kind", ["issued", "cancelled", "preview"])
async def test_no_transaction_is_open_while_a_document_is_typeset(
    organisation: TestOrganisation, urls: tuple[str, str], kind: str
) -> None:
    order = await organisation.ordered()
    if kind != "preview":
        order = await ok(perform(organisation.buyer, order, "issue"))
    if kind == "cancelled":
        await ok(perform(organisation.buyer, order, "cancel", json={"comment": "Too late"}))
    path = f"{path_of(order)}?preview=true" if kind == "preview" else path_of(order)
    async with typeset_by_frozen_worker(organisation, path) as reading:
        # Only a role's own sessions are visible to it.
        async with connected(urls[1]) as connection:
            assert await connection.fetchval(OPEN_TRANSACTIONS) == 0
        assert not reading.done()
    await ok(reading)


async def test_a_fault_of_a_template_undoes_no_number_and_the_next_reading_tries_again(
    organisation: TestOrganisation, owner: Any
) -> None:
    order = await organisation.issued()
    template = "UPDATE purchase_order_sheets SET template = $2 WHERE purchase_order_id = $1"
    await owner.execute(template, order.json()["id"], 999)
    for _ in range(2):
        answer = await ok(organisation.buyer.get(path_of(order)), 503)
        assert answer.json()["code"] == "document_not_rendered"
        assert int(answer.headers["Retry-After"]) > 0
    assert (await again(organisation.buyer, order)).json()["number"] == order.json()["number"]
    await owner.execute(template, order.json()["id"], 1)
    await ok(organisation.buyer.get(path_of(order)))


@plans_of_one_server
async def test_the_requests_of_an_order_are_looked_up_once_not_for_each_approval(
    organisation: TestOrganisation,
) -> None:
    """Before there are statistics, it would be done for all approvals of the organisation."""
    order = await organisation.ordered()
    async with sent_to(organisation.database) as sent:
        await perform(organisation.buyer, order, "issue")
    (buyer,) = (each for each in sent if "printed_logo" in each.sql)
    plan = await plan_of(organisation.database, buyer)
    assert "porf_id = ANY" in plan
    assert "Semi Join" not in plan


async def test_a_dry_run_checks_and_typesets_nothing(organisation: TestOrganisation, owner: Any) -> None:
    order = await organisation.ordered()
    await ok(perform(organisation.buyer, order, "issue", params={"dry_run": "true"}))
    await refused(organisation.buyer.get(path_of(order)), 409, "not_issued")
    query = "SELECT count(*) FROM purchase_order_sheets WHERE purchase_order_id = $1"
    assert await owner.fetchval(query, order.json()["id"]) == 0


# Cancelled


def _today(organisation: TestOrganisation) -> str:
    day = datetime.now(UTC).astimezone(ZoneInfo("Europe/London"))
    return f"{day.day} {day:%B} {day.year}"


@pytest.mark.parametrize("is_read_before", [True, False])
async def test_a_cancelled_order_has_a_marked_document_and_keeps_the_one_of_its_issue(
    organisation: TestOrganisation, owner: Any, urls: tuple[str, str], *, is_read_before: bool
) -> None:
    order = await organisation.issued()
    before = await ok(organisation.buyer.get(path_of(order))) if is_read_before else None
    await ok(perform(organisation.buyer, order, "cancel", json={"comment": "Too late"}))
    marked = await ok(organisation.requester.get(path_of(order)))
    number = order.json()["number"]
    assert f"CANCELLED Cancelled on {_today(organisation)}. This order is not valid." in words(marked)
    assert number in words(marked)
    assert marked.headers["Content-Disposition"] == f'attachment; filename="{number}-CANCELLED.pdf"'
    as_issued = await ok(organisation.auditor.get(path_of(order), params={"as": "issued"}))
    assert as_issued.headers["Content-Disposition"] == f'attachment; filename="{number}.pdf"'
    assert "CANCELLED" not in words(as_issued)
    assert as_issued.headers["ETag"] != marked.headers["ETag"]
    if before is not None:
        assert as_issued.content == before.content
        changed = organisation.buyer.get(path_of(order), headers={"If-None-Match": before.headers["ETag"]})
        assert (await ok(changed)).content == marked.content
    assert await stored(owner, order) == ["cancelled", "issued"]
    assert (await ok(organisation.buyer.get(path_of(order)))).content == marked.content
    await check(urls[0], organisation.organisation_id)


async def test_as_issued_of_an_order_that_is_not_cancelled_is_its_document(organisation: TestOrganisation) -> None:
    order = await organisation.issued()
    plain, named = [await ok(organisation.buyer.get(path_of(order), params=given)) for given in ({}, {"as": "issued"})]
    assert (named.content, named.headers["ETag"]) == (plain.content, plain.headers["ETag"])
    closed = await ok(perform(organisation.buyer, order, "close"))
    assert (await ok(organisation.buyer.get(path_of(closed)))).content == plain.content


async def test_an_order_that_an_earlier_version_issued_is_marked_when_it_is_cancelled(
    organisation: TestOrganisation, owner: Any, urls: tuple[str, str]
) -> None:
    order = await organisation.issued()
    before = await ok(organisation.buyer.get(path_of(order)))
    await owner.execute("DELETE FROM purchase_order_sheets WHERE purchase_order_id = $1", order.json()["id"])
    await check(urls[0], organisation.organisation_id)
    assert (await ok(organisation.buyer.get(path_of(order)))).content == before.content
    await ok(perform(organisation.buyer, order, "cancel", json={"comment": "Too late"}))
    marked = words(await ok(organisation.buyer.get(path_of(order))))
    assert f"Cancelled on {_today(organisation)}" in marked
    assert all(word in marked for word in words(before).split())
    assert (await ok(organisation.buyer.get(path_of(order), params={"as": "issued"}))).content == before.content


# Drafts


async def test_a_draft_has_a_preview_that_is_not_stored(organisation: TestOrganisation, owner: Any) -> None:
    order = await organisation.ordered()
    shown = await ok(organisation.buyer.get(path_of(order), params={"preview": "true"}))
    assert "Draft. This is not an order." in words(shown)
    assert "Müller & Söhne GmbH" in words(shown)
    assert "Desk lamp 10 pcs 24.90 20% 249.00" in words(shown)
    assert "PO-" not in words(shown)
    assert "ETag" not in shown.headers
    assert shown.headers["Cache-Control"] == "no-store"
    assert (
        shown.headers["Content-Disposition"] == f'attachment; filename="purchase-order-{order.json()["id"]}-DRAFT.pdf"'
    )
    assert await stored(owner, order) == []
    changed = organisation.buyer.patch(
        f"/purchase-orders/{order.json()['id']}", etag="*", json={"terms": "30 days net"}
    )
    await ok(changed)
    assert "30 days net" in words(await ok(organisation.buyer.get(path_of(order), params={"preview": "true"})))


async def test_only_drafts_have_a_preview(organisation: TestOrganisation) -> None:
    issued = await organisation.issued()
    cancelled = await ok(perform(organisation.buyer, await organisation.ordered(), "cancel"))
    for order in (issued, cancelled):
        await refused(organisation.buyer.get(path_of(order), params={"preview": "true"}), 409, "not_a_draft")
    await refused(organisation.buyer.get(path_of(cancelled)), 409, "not_issued")
    await refused(organisation.buyer.get(path_of(cancelled), params={"as": "issued"}), 409, "not_issued")
    both = {"preview": "true", "as": "issued"}
    problem = await refused(organisation.buyer.get(path_of(issued), params=both), 422, "preview_as_issued")
    assert [(item["location"], item["pointer"]) for item in problem["errors"]] == [("query", "/as")]
    await refused(organisation.buyer.get(path_of(issued), params={"as": "draft"}), 422, "validation_failed")


# Clients that leave


@pytest.mark.exhaustive
async def test_a_document_that_nobody_waits_for_is_not_typeset_to_the_end(
    own_organisation: TestOrganisation, own_urls: tuple[str, str], own_owner: Any
) -> None:
    """In a database of its own: without statistics, many other rows can make plans for two thousand lines slow."""
    lines = [LINE | {"description": f"Desk lamp no. {number}"} for number in range(2_000)]
    draft = await created(own_organisation.convert(await own_organisation.approved(lines=lines)))
    if IS_DISTRIBUTED:  # the database is that of the other tests
        await own_owner.execute("ANALYZE porfs, porf_lines, allocations, purchase_order_lines")
    order = await ok(perform(own_organisation.buyer, draft, "issue"))
    short = await own_organisation.issued()
    before = {worker.pid for worker in running_children(WORKER_PROGRAM)}

    async def new_worker() -> psutil.Process | None:
        return next((worker for worker in running_children(WORKER_PROGRAM) if worker.pid not in before), None)

    application = new_app(own_urls[1])
    with serving(application) as address:
        async with httpx.AsyncClient(base_url=address) as client:
            member = Member(client, own_organisation.buyer.user_id, "", own_organisation.buyer.token)
            reading = asyncio.create_task(member.get(path_of(order)))
            worker = await until(new_worker, "the start of a worker process")
            assert worker is not None
            # Another process has started and typeset meanwhile: the first one is at work. One without work would stay.
            await ok(member.get(path_of(short)))
            reading.cancel()
            await asyncio.wait([reading])
            await asyncio.to_thread(wait_until, lambda: not is_running(worker.pid), "the end of the worker process")
        assert application.state.renderings.running == 0
    assert await stored(own_owner, order) == []
    await ok(own_organisation.buyer.get(path_of(order)))
    assert await stored(own_owner, order) == ["issued"]
