"""Serialization failures and deadlocks are retried: the client gets the response of one successful execution.

The conflicts are caused by a connection of the tests: it locks the same rows in the opposite order, or changes them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from support.applications import client_of, new_app
from support.locks import Row, member_row
from support.one_server import IS_DISTRIBUTED, one_server
from support.organisations import Member, TestOrganisation, again, ok
from support.polling import Deadline, until_blocked

pytestmark = pytest.mark.heavy

LIMIT = 1000
CSV = b"description,quantity,unit_price\nLamp,1,24.90\n"


async def undone_approval(
    organisation: TestOrganisation,
    approve: Callable[[httpx.Response], Awaitable[httpx.Response]],
    owner: asyncpg.Connection,
    url: str,
) -> tuple[httpx.Response, asyncio.Task[httpx.Response]]:
    """A pending request, and its approval, which was the victim of a deadlock once.

    The approval has locked the request and waits for the approver, which the owner's connection has locked; that then
    waits for the request. PostgreSQL cancels the transaction that first has waited for a second: on a busy machine
    this may be the owner's. Then it is repeated.
    """
    deadline = Deadline("an approval that PostgreSQL undoes")
    while True:
        deadline.check()
        pending = await organisation.pending()
        transaction = owner.transaction()
        await transaction.start()
        await member_row(organisation.organisation_id, organisation.approver.user_id).lock(owner)
        approving = asyncio.create_task(ok(approve(pending)))
        await until_blocked(url)
        try:
            await Row("porfs", organisation.organisation_id, pending.json()["id"]).lock(owner)
        except asyncpg.DeadlockDetectedError:
            await transaction.rollback()
            await approving
        else:
            assert not approving.done()
            await transaction.rollback()
            return pending, approving


@asynccontextmanager
async def undoing(owner: asyncpg.Connection, sqlstate: str, times: int) -> AsyncIterator[None]:
    """Make approvals fail with a serialization failure this number of times, when the decision is inserted."""
    await owner.execute(f"""
        CREATE SEQUENCE undone;
        CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            IF nextval('undone') <= {times} THEN  -- a sequence does not go back with the transaction
                RAISE 'undone' USING ERRCODE = '{sqlstate}';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER undo BEFORE INSERT ON approval_decisions FOR EACH ROW EXECUTE FUNCTION undo()""")
    try:
        yield
    finally:
        await owner.execute("DROP FUNCTION undo CASCADE; DROP SEQUENCE undone")


async def decisions(owner: asyncpg.Connection, porf_id: int) -> tuple[int, int]:
    """The numbers of decisions on a request and of audit events of its approval."""
    sql = """SELECT (SELECT count(*) FROM approval_decisions WHERE porf_id = $1),
        (SELECT count(*) FROM audit_events WHERE entity = 'porf' AND entity_id = $1 AND action LIKE '%approve%')"""
    found: tuple[int, int] = tuple(await owner.fetchrow(sql, porf_id))
    return found


async def test_a_deadlock_is_retried_without_an_error(
    organisation: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    async def approve(pending: httpx.Response) -> httpx.Response:
        path, headers = f"/porfs/{pending.json()['id']}/approve", {"Idempotency-Key": pending.json()["number"]}
        return await organisation.approver.post(path, etag=pending.headers["ETag"], headers=headers)

    pending, approving = await undone_approval(organisation, approve, owner, urls[0])
    approved = await approving
    assert (approved.json()["status"], approved.json()["version"]) == ("approved", pending.json()["version"] + 1)
    replayed = await approve(pending)
    assert (replayed.content, replayed.headers["Idempotent-Replayed"]) == (approved.content, "true")
    assert await decisions(owner, pending.json()["id"]) == (1, 1)


UNDONE = pytest.mark.parametrize("sqlstate", ["40001", "40P01"])


@one_server("makes a trigger")
@UNDONE
async def test_what_is_done_again_counts_once(
    organisation: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str], sqlstate: str
) -> None:
    pending = await organisation.pending()
    async with client_of(new_app(urls[1], rate_limit_per_user=f"{LIMIT}/day")) as client:
        approver = replace(organisation.approver, client=client)
        async with undoing(owner, sqlstate, times=2):
            approved = await ok(approver.post(f"/porfs/{pending.json()['id']}/approve", etag=pending.headers["ETag"]))
    assert f"r={LIMIT - 1};" in approved.headers["RateLimit"]
    assert await decisions(owner, pending.json()["id"]) == (1, 1)


@one_server("makes a trigger")
@UNDONE
async def test_after_three_times_the_client_is_told_to_come_again(
    organisation: TestOrganisation, owner: asyncpg.Connection, sqlstate: str
) -> None:
    pending = await organisation.pending()
    porf_id = pending.json()["id"]

    async def approve() -> httpx.Response:
        headers = {"Idempotency-Key": "again"}
        return await organisation.approver.post(
            f"/porfs/{porf_id}/approve", etag=pending.headers["ETag"], headers=headers
        )

    async with undoing(owner, sqlstate, times=3):
        busy = await approve()
        assert await owner.fetchval("SELECT last_value FROM undone") == 3
        assert await decisions(owner, porf_id) == (0, 0)
        approved = await ok(approve())
    assert (busy.status_code, busy.json()["code"]) == (503, "busy")
    assert int(busy.headers["Retry-After"]) > 0
    assert "Idempotent-Replayed" not in approved.headers
    assert await decisions(owner, porf_id) == (1, 1)


def with_isolation(url: str, level: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}default_transaction_isolation={quote(level)}"


@pytest.fixture
async def strict(urls: tuple[str, str], organisation: TestOrganisation) -> AsyncIterator[Member]:
    """The requester, through an application with serializable transactions."""
    app = new_app(with_isolation(urls[1], "repeatable read"))
    async with client_of(app) as client:
        yield replace(organisation.requester, client=client)


async def test_an_upload_is_read_from_its_beginning_again(
    organisation: TestOrganisation, strict: Member, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    first = await organisation.draft()
    organisation_id = organisation.organisation_id
    transaction = owner.transaction()
    await transaction.start()
    changed = await owner.execute(
        f"UPDATE number_series SET next_value = next_value + 1 WHERE organisation_id = {organisation_id}"
    )
    assert changed == "UPDATE 1"
    files, headers = {"file": ("lines.csv", CSV)}, {"Idempotency-Key": "upload"}

    def upload() -> Any:
        return strict.post("/porfs/import", files=files, data={"title": "Uploaded"}, headers=headers)

    uploading = asyncio.create_task(upload())
    await until_blocked(urls[0])
    await transaction.commit()  # could not serialise: the row that it waited for has changed
    uploaded = await ok(uploading, 201)
    assert [line["description"] for line in uploaded.json()["lines"]] == ["Lamp"]
    numbers = [int(porf.json()["number"][-6:]) for porf in (first, uploaded)]
    assert numbers[1] == numbers[0] + 2
    assert (await ok(upload(), 201)).headers["Idempotent-Replayed"] == "true"
    listed = (await ok(organisation.requester.get("/porfs?limit=100"))).json()["items"]
    assert {item["id"] for item in listed} == {first.json()["id"], uploaded.json()["id"]}


async def test_a_failure_at_the_commit_is_repeated_as_well(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    """Write skew: each transaction reads what the others write. PostgreSQL may detect it at the commit."""
    drafts = [await organisation.draft(title=str(number)) for number in range(4)]
    app: FastAPI = new_app(with_isolation(urls[1], "serializable"))
    async with client_of(app) as client:
        requester = replace(organisation.requester, client=client)

        async def submit(draft: httpx.Response) -> httpx.Response:
            path, headers = f"/porfs/{draft.json()['id']}/submit", {"Idempotency-Key": draft.json()["number"]}
            deadline = Deadline("an answer other than busy")
            while True:
                deadline.check()
                answer = await requester.post(path, etag=draft.headers["ETag"], headers=headers)
                if answer.status_code != 503:
                    return answer
                # Coordinators of distributed databases do not pass on why a server refused a commit.
                assert answer.json()["code"] in {"busy", *(["unavailable"] if IS_DISTRIBUTED else [])}, answer.text

        answers = await asyncio.gather(*(submit(draft) for draft in drafts))
    assert [answer.status_code for answer in answers] == [200] * len(drafts), [answer.text for answer in answers]
    for draft in drafts:
        assert (await again(organisation.requester, draft)).json()["status"] == "pending"
