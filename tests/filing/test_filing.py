"""Filing of orders' documents, through the API and the worker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from po_api.db.database import enter_tenant
from po_api.db.query import TransactionExecutor
from po_api.db.work import Work
from po_api.filing.filings import FILINGS, FilingHandler, queue_missing
from po_api.settings import Settings
from po_api.worker.queues import QueueRunner
from po_api.worker.worker import Worker
from support.applications import application_on, client_of
from support.electronic_orders import connect
from support.google_drive import GoogleDrive, StoredFile, refused
from support.organisations import TestOrganisation, new_organisation, ok, perform
from support.organisations import refused as refusal_of
from support.workers import run_until_idle, work_until_idle

pytestmark = pytest.mark.heavy

SETTINGS = "/organisations/current/filing"
CHECK = f"{SETTINGS}/check"
GENERATE = "/drive/v3/files/generateIds"
UPLOAD = "/upload/drive/v3/files"

Json = dict[str, Any]


async def settings_of(organisation: TestOrganisation) -> Json:
    shown: Json = (await ok(organisation.admin.get(SETTINGS))).json()
    return shown


async def use_folder(organisation: TestOrganisation, folder_id: str | None) -> None:
    etag = (await ok(organisation.admin.get("/organisations/current"))).headers["ETag"]
    values = {"workspace_folder_id": folder_id}
    await ok(organisation.admin.patch("/organisations/current", etag=etag, json=values))


async def prove(organisation: TestOrganisation, drive: GoogleDrive, folder: StoredFile) -> None:
    """Put the file of the organisation into the folder, which is its folder."""
    drive.put(folder, (await settings_of(organisation))["verification"]["file_name"])


async def verified(organisation: TestOrganisation, drive: GoogleDrive, **options: Any) -> StoredFile:
    """A new folder, verified as the organisation's."""
    folder = drive.folder("Orders", **options)
    await use_folder(organisation, folder.id)
    await prove(organisation, drive, folder)
    assert (await ok(organisation.admin.post(CHECK))).json()["is_ready"] is True
    return folder


async def filings(organisation: TestOrganisation, **params: str) -> list[Json]:
    """The filings, the oldest first."""
    shown = await ok(organisation.admin.get("/filings", params={"sort": "created_at", **params}))
    items: list[Json] = shown.json()["items"]
    return items


async def order_of(organisation: TestOrganisation, order: httpx.Response) -> httpx.Response:
    return await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}"))


async def pdf_of(organisation: TestOrganisation, order: httpx.Response) -> bytes:
    return (await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))).content


async def release(owner: asyncpg.Connection, organisation: TestOrganisation) -> None:
    """Let leases end, and later attempts be due."""
    await owner.execute(
        "UPDATE document_filings SET next_attempt_at = now(), leased_until = NULL"
        " WHERE organisation_id = $1 AND status = 'queued'",
        organisation.organisation_id,
    )


# A directory


def filed_in(settings: Settings, organisation: TestOrganisation) -> dict[str, bytes]:
    assert settings.filing_dir is not None
    root = settings.filing_dir / str(organisation.organisation_id)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_an_electronic_order_is_filed_beside_the_document(
    organisation: TestOrganisation, settings: Settings
) -> None:
    await connect(organisation)
    order = await organisation.issued()
    await work_until_idle(organisation)
    xml = (await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.xml"))).content
    path = f"{order.json()['number'].split('-')[1]}/{order.json()['number']}"
    assert filed_in(settings, organisation) == {f"{path}.pdf": await pdf_of(organisation, order), f"{path}.xml": xml}
    assert {(filing["kind"], filing["path"]) for filing in await filings(organisation, status="done")} == {
        ("issued", f"{path}.pdf"),
        ("electronic", f"{path}.xml"),
    }
    assert (await order_of(organisation, order)).json()["filed_at"] is not None


async def test_issued_and_cancelled_orders_are_filed_in_a_directory(
    organisation: TestOrganisation, settings: Settings
) -> None:
    order = await organisation.issued()
    number = order.json()["number"]
    path = f"{number.split('-')[1]}/{number}.pdf"
    assert (order.json()["filed_at"], order.json()["filed_url"]) == (None, None)
    await work_until_idle(organisation)
    assert filed_in(settings, organisation) == {path: await pdf_of(organisation, order)}
    shown = await order_of(organisation, order)
    assert shown.json()["filed_at"] is not None
    assert shown.json()["version"] == order.json()["version"]
    assert shown.headers["ETag"] != order.headers["ETag"]
    (filing,) = await filings(organisation, status="done")
    assert (filing["path"], filing["filed_at"]) == (path, shown.json()["filed_at"])
    assert (filing["url"], filing["error_code"], filing["attempts"]) == (None, None, 1)

    cancelled = await ok(perform(organisation.buyer, order, "cancel"))
    assert cancelled.json()["filed_at"] is None
    await work_until_idle(organisation)
    found = filed_in(settings, organisation)
    assert found.keys() == {path, path.replace(".pdf", "-CANCELLED.pdf")}
    assert found[path.replace(".pdf", "-CANCELLED.pdf")] == await pdf_of(organisation, order)
    assert (await order_of(organisation, order)).json()["filed_at"] is not None
    assert await work_until_idle(organisation) == 0


async def test_a_document_that_a_reader_has_stored_is_filed(organisation: TestOrganisation, settings: Settings) -> None:
    order = await organisation.issued()
    content = await pdf_of(organisation, order)
    assert [filing["status"] for filing in await filings(organisation)] == ["queued"]
    assert (await settings_of(organisation))["queued"] == 1
    await work_until_idle(organisation)
    assert [*filed_in(settings, organisation).values()] == [content]


async def test_a_directory_needs_no_folder(organisation: TestOrganisation) -> None:
    expected = {"destination": "directory", "is_ready": True, "folder_id": None, "verification": None}
    assert expected.items() <= (await settings_of(organisation)).items()
    assert expected.items() <= (await ok(organisation.admin.post(CHECK))).json().items()


async def test_another_file_with_the_name_is_kept_and_named(organisation: TestOrganisation, settings: Settings) -> None:
    order = await organisation.issued()
    number = order.json()["number"]
    path = settings.filing_dir / str(organisation.organisation_id) / number.split("-")[1] / f"{number}.pdf"  # type: ignore[operator]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"of somebody else")
    await work_until_idle(organisation)
    assert path.read_bytes() == b"of somebody else"
    (filing,) = await filings(organisation, error_code="name_taken")
    assert filing["status"] == "failed"
    path.unlink()
    again = await ok(organisation.admin.post(f"/filings/{filing['id']}/retry"))
    assert (again.json()["status"], again.json()["attempts"], again.json()["error_code"]) == ("queued", 0, None)
    await work_until_idle(organisation)
    assert path.read_bytes() == await pdf_of(organisation, order)
    event = (await ok(organisation.admin.get("/audit-events", params={"action": "filing.retry"}))).json()["items"][0]
    assert (event["entity"], event["entity_id"]) == ("filing", filing["id"])
    assert event["before"] == {"status": "failed", "error_code": "name_taken"}
    await refusal_of(organisation.admin.post(f"/filings/{filing['id']}/retry"), 409, "filing_not_retryable")


@pytest.fixture
async def unconfigured(urls: tuple[str, str], settings: Settings) -> AsyncIterator[TestOrganisation]:
    """An organisation of an installation with a server of its own, which files nothing."""
    changes = {"database_url": SecretStr(urls[1]), "filing_dir": None}
    async with application_on(urls, settings.model_copy(update=changes)) as made, client_of(made) as client:
        yield await new_organisation(made, client)


async def test_an_installation_without_filing(unconfigured: TestOrganisation) -> None:
    order = await unconfigured.issued()
    await work_until_idle(unconfigured)
    assert await filings(unconfigured) == []
    assert (await order_of(unconfigured, order)).json()["filed_at"] is None
    assert {"destination": None, "is_ready": False}.items() <= (await settings_of(unconfigured)).items()
    await refusal_of(unconfigured.admin.post(CHECK), 409, "filing_not_configured")


async def test_what_was_stored_before_is_filed_once_filing_is_configured(
    unconfigured: TestOrganisation, app: FastAPI, settings: Settings
) -> None:
    content = await pdf_of(unconfigured, await unconfigured.issued())
    assert await queue_missing(unconfigured.database) >= 1
    # Filing is turned off again meanwhile.
    await work_until_idle(unconfigured)
    (filing,) = await filings(unconfigured)
    assert (filing["status"], filing["error_code"]) == ("held", "filing_not_configured")
    await ok(unconfigured.admin.post(f"/filings/{filing['id']}/retry"))
    runner = QueueRunner(app.state.database, FILINGS, FilingHandler(app.state.database, app.state.filing))
    await run_until_idle(runner, unconfigured.organisation_id)
    assert [*filed_in(settings, unconfigured).values()] == [content]


async def test_nothing_is_filed_after_a_restore_until_it_is_confirmed(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    await pdf_of(organisation, await organisation.issued())
    handler = FilingHandler(organisation.database, organisation.app.state.filing)
    worker = Worker(organisation.database, Work(queues=((FILINGS, handler),)))
    await owner.execute("COMMENT ON TABLE alembic_version IS 'restored: a test, at 2026-11-22T10:00:00Z'")
    try:
        await worker.run_until_idle()
        assert [(row["status"], row["attempts"]) for row in await filings(organisation)] == [("queued", 0)]
    finally:
        await owner.execute("COMMENT ON TABLE alembic_version IS NULL")
    await worker.run_until_idle()
    assert [row["status"] for row in await filings(organisation)] == ["done"]


# Google Drive


@pytest.mark.parametrize("drive_id", [None, "shared-drive"])
async def test_documents_are_filed_in_the_verified_folder(
    filing: TestOrganisation, drive: GoogleDrive, drive_id: str | None
) -> None:
    order = await filing.issued()
    await work_until_idle(filing)
    (held,) = await filings(filing)
    assert (held["status"], held["error_code"]) == ("held", "folder_unverified")
    assert held["remedy"].startswith("Verify the folder")
    folder = await verified(filing, drive, drive_id=drive_id)
    await work_until_idle(filing)
    number = order.json()["number"]
    path = f"{number.split('-')[1]}/{number}.pdf"
    assert drive.documents(folder) == {path: await pdf_of(filing, order)}
    (done,) = await filings(filing)
    assert (done["status"], done["path"], done["error_code"]) == ("done", path, None)
    shown = (await order_of(filing, order)).json()
    assert shown["filed_url"] == done["url"]
    assert shown["filed_url"].removeprefix("https://drive.google.com/file/d/").removesuffix("/view") in drive.files

    await ok(perform(filing.buyer, order, "cancel"))
    await work_until_idle(filing)
    assert drive.documents(folder).keys() == {path, path.replace(".pdf", "-CANCELLED.pdf")}
    assert [
        file.name for file in drive.files.values() if file.parents == [folder.id] and "po-api" not in file.name
    ] == [number.split("-")[1]]


async def test_how_a_folder_is_verified(filing: TestOrganisation, drive: GoogleDrive) -> None:
    assert (await settings_of(filing))["verification"] is None
    await refusal_of(filing.admin.post(CHECK), 409, "folder_missing")
    folder = drive.folder("Orders")
    await use_folder(filing, folder.id)
    shown = await settings_of(filing)
    assert (shown["is_ready"], shown["folder_id"]) == (False, folder.id)
    assert shown["verification"]["account"] == drive.account.email
    await refusal_of(filing.admin.post(CHECK), 409, "folder_unverified")
    drive.put(folder, f"{shown['verification']['file_name']}.txt")
    before = await ok(filing.admin.get("/organisations/current"))
    await ok(filing.admin.post(CHECK))
    after = await ok(filing.admin.get("/organisations/current"))
    assert (before.json()["workspace_folder_verified"], after.json()["workspace_folder_verified"]) == (False, True)
    assert after.json()["version"] == before.json()["version"] + 1
    await ok(filing.admin.post(CHECK))
    assert (await ok(filing.admin.get("/organisations/current"))).json() == after.json()
    events = await ok(filing.admin.get("/audit-events", params={"action": "organisation.verify_folder"}))
    assert [event["after"] for event in events.json()["items"]] == [{"verified_folder_id": folder.id}]


async def test_another_folder_is_verified_anew(filing: TestOrganisation, drive: GoogleDrive) -> None:
    first = await verified(filing, drive)
    second = drive.folder("Elsewhere")
    # The file of the first folder proves nothing about the second one.
    for file in [*drive.files.values()]:
        if file.parents == [first.id]:
            drive.put(second, file.name)
    await use_folder(filing, second.id)
    await refusal_of(filing.admin.post(CHECK), 409, "folder_unverified")
    order = await filing.issued()
    await work_until_idle(filing)
    assert [row["error_code"] for row in await filings(filing)] == ["folder_unverified"]
    await prove(filing, drive, second)
    await ok(filing.admin.post(CHECK))
    await work_until_idle(filing)
    assert (drive.documents(first), [*drive.documents(second).values()]) == ({}, [await pdf_of(filing, order)])


async def test_an_unverified_folder_tells_nothing(
    filing: TestOrganisation, filing_app: FastAPI, drive: GoogleDrive
) -> None:
    theirs = await verified(filing, drive)
    other = await new_organisation(filing_app, filing.client)
    trashed = drive.folder("Trash")
    trashed.is_trashed = True
    folders = [theirs, trashed, drive.folder("Reader", access="reader"), drive.folder("Hidden", access=None)]
    answers = []
    for folder_id in [*(folder.id for folder in folders), "absent"]:
        await use_folder(other, folder_id)
        drive.requests.clear()
        problem = await refusal_of(other.admin.post(CHECK), 409, "folder_unverified")
        answers.append(({**problem, "request_id": "", "instance": ""}, dict(drive.requests)))
    assert all(answer == answers[0] for answer in answers)


async def test_a_second_organisation_cannot_verify_the_folder(
    filing: TestOrganisation, filing_app: FastAPI, drive: GoogleDrive
) -> None:
    folder = await verified(filing, drive)
    other = await new_organisation(filing_app, filing.client)
    await use_folder(other, folder.id)
    before = await refusal_of(other.admin.post(CHECK), 409, "folder_unverified")
    await prove(other, drive, folder)
    after = await refusal_of(other.admin.post(CHECK), 409, "folder_unverified")
    assert after["detail"] == before["detail"]
    await other.issued()
    await work_until_idle(other)
    assert [row["status"] for row in await filings(other)] == ["held"]
    order = await filing.issued()
    await work_until_idle(filing)
    assert [*drive.documents(folder).values()] == [await pdf_of(filing, order)]


async def test_of_two_organisations_at_once_one_verifies_the_folder(
    filing: TestOrganisation, filing_app: FastAPI, drive: GoogleDrive
) -> None:
    other = await new_organisation(filing_app, filing.client)
    for _ in range(20):
        folder = drive.folder("Contested")
        for organisation in (filing, other):
            await use_folder(organisation, folder.id)
            await prove(organisation, drive, folder)
        answers = await asyncio.gather(filing.admin.post(CHECK), other.admin.post(CHECK))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        shown = [await settings_of(organisation) for organisation in (filing, other)]
        assert [row["is_ready"] for row in shown] == [answer.status_code == 200 for answer in answers]


async def test_the_check_is_repeated_by_its_key(filing: TestOrganisation, drive: GoogleDrive) -> None:
    folder = drive.folder("Orders")
    await use_folder(filing, folder.id)
    await prove(filing, drive, folder)
    key = {"headers": {"Idempotency-Key": "check"}}
    first, second = [await ok(filing.admin.post(CHECK, **key)) for _ in range(2)]
    assert second.json() == first.json()
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_drive_that_is_down_is_no_verdict(filing: TestOrganisation, drive: GoogleDrive) -> None:
    await use_folder(filing, drive.folder("Orders").id)
    drive.fail("GET", "/drive/v3/files", refused(500, "backendError"))
    problem = await refusal_of(filing.admin.post(CHECK), 503, "filing_unavailable")
    assert problem["detail"] == "drive_unavailable"


@pytest.mark.parametrize("moment", ["uploaded", "response lost"])
async def test_a_worker_that_dies_after_the_upload_files_once(
    filing: TestOrganisation, drive: GoogleDrive, owner: asyncpg.Connection, moment: str
) -> None:
    folder = await verified(filing, drive)
    content = await pdf_of(filing, await filing.issued())
    if moment == "uploaded":
        await _work_and_die(filing)
    else:
        drive.is_response_lost = True
        await work_until_idle(filing)
    assert [*drive.documents(folder).values()] == [content]
    assert [row["status"] for row in await filings(filing)] == ["queued"]
    await release(owner, filing)
    await work_until_idle(filing)
    assert [*drive.documents(folder).values()] == [content]
    (done,) = await filings(filing)
    assert (done["status"], done["attempts"]) == ("done", 2)
    assert drive.requests["POST", UPLOAD] == 1


async def _work_and_die(organisation: TestOrganisation) -> None:
    """Do the work of an attempt, and never end it."""
    database = organisation.database
    async with database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        executor = TransactionExecutor(session)
        job = await FILINGS.leases.take(executor, organisation.organisation_id, FILINGS.delays[-1], most=3)
    assert job is not None
    await FilingHandler(database, organisation.app.state.filing).perform(job)


async def test_a_restored_database_finds_what_was_filed_before(
    filing: TestOrganisation, drive: GoogleDrive, owner: asyncpg.Connection
) -> None:
    folder = await verified(filing, drive)
    await filing.issued()
    await work_until_idle(filing)
    before = drive.documents(folder)
    for file in drive.files.values():
        if file.content:
            file.name = "Renamed by somebody.pdf"
    await owner.execute("DELETE FROM filing_folders WHERE organisation_id = $1", filing.organisation_id)
    await owner.execute(
        "UPDATE document_filings SET status = 'queued', attempts = 0, next_attempt_at = now(), drive_id = NULL,"
        " url = NULL WHERE organisation_id = $1",
        filing.organisation_id,
    )
    await work_until_idle(filing)
    assert [row["status"] for row in await filings(filing)] == ["done"]
    assert [*drive.documents(folder).values()] == [*before.values()]


async def test_workers_make_the_folder_of_the_year_once(filing: TestOrganisation, drive: GoogleDrive) -> None:
    folder = await verified(filing, drive)
    for _ in range(4):
        await pdf_of(filing, await filing.issued())
    runners = [
        QueueRunner(filing.database, FILINGS, FilingHandler(filing.database, filing.app.state.filing)) for _ in range(4)
    ]
    await asyncio.gather(*(run_until_idle(runner, filing.organisation_id) for runner in runners))
    assert [row["attempts"] for row in await filings(filing, status="done")] == [1] * 4
    assert len(drive.documents(folder)) == 4
    assert len([file for file in drive.files.values() if file.parents == [folder.id]]) == 2


@pytest.mark.parametrize("what", ["folder", "year"])
async def test_a_trashed_folder_is_restored_by_its_owner(
    filing: TestOrganisation, drive: GoogleDrive, what: str
) -> None:
    folder = await verified(filing, drive)
    await filing.issued()
    await work_until_idle(filing)
    (year,) = [file for file in drive.files.values() if file.parents == [folder.id] and "po-api" not in file.name]
    trashed = folder if what == "folder" else year
    trashed.is_trashed = True
    await filing.issued()
    await work_until_idle(filing)
    (failed,) = await filings(filing, status="failed")
    assert failed["error_code"] == "folder_trashed"
    assert failed["remedy"].startswith("Restore the folder")
    assert (await settings_of(filing))["failed"] == 1
    trashed.is_trashed = False
    # The check queues all that could not be filed.
    await ok(filing.admin.post(CHECK))
    await work_until_idle(filing)
    assert len(drive.documents(folder)) == 2


@pytest.mark.parametrize(
    ("access", "code"), [(None, "folder_not_found"), ("reader", "folder_read_only")], ids=["unshared", "read only"]
)
async def test_a_folder_that_is_no_longer_shared_fails(
    filing: TestOrganisation, drive: GoogleDrive, access: str | None, code: str
) -> None:
    folder = await verified(filing, drive)
    await filing.issued()
    await work_until_idle(filing)
    folder.access = access
    await filing.issued()
    await work_until_idle(filing)
    assert [row["error_code"] for row in await filings(filing, status="failed")] == [code]
    await refusal_of(filing.admin.post(CHECK), 409, "folder_unverified")


async def test_full_storage_fails_and_limits_are_retried(
    filing: TestOrganisation, drive: GoogleDrive, owner: asyncpg.Connection
) -> None:
    await verified(filing, drive)
    await filing.issued()
    drive.fail("POST", UPLOAD, refused(403, "userRateLimitExceeded"), refused(403, "storageQuotaExceeded"))
    await work_until_idle(filing)
    (retried,) = await filings(filing)
    assert (retried["status"], retried["error_code"]) == ("queued", "drive_rate_limited")
    assert retried["error_detail"] == "403 userRateLimitExceeded"
    await release(owner, filing)
    await work_until_idle(filing)
    (failed,) = await filings(filing)
    assert (failed["status"], failed["error_code"], failed["attempts"]) == ("failed", "storage_full", 2)


async def test_a_revoked_key_is_retried_until_the_operator_has_replaced_it(
    filing: TestOrganisation, drive: GoogleDrive
) -> None:
    folder = await verified(filing, drive)
    drive.tokens.clear()
    drive.is_key_revoked = True
    await filing.issued()
    await work_until_idle(filing)
    (retried,) = await filings(filing)
    assert (retried["status"], retried["error_code"]) == ("queued", "drive_credentials_refused")
    await refusal_of(filing.admin.post(CHECK), 503, "filing_unavailable")
    drive.is_key_revoked = False
    # A later attempt is made at once after a successful check.
    await ok(filing.admin.post(CHECK))
    await work_until_idle(filing)
    assert len(drive.documents(folder)) == 1


async def test_a_document_that_was_deleted_while_it_was_filed_is_filed_again(
    filing: TestOrganisation, drive: GoogleDrive, owner: asyncpg.Connection
) -> None:
    folder = await verified(filing, drive)
    await pdf_of(filing, await filing.issued())
    await _work_and_die(filing)
    for file in drive.files.values():
        file.is_trashed = bool(file.content)
    for _ in range(2):
        await release(owner, filing)
        await work_until_idle(filing)
    assert [row["status"] for row in await filings(filing)] == ["done"]
    assert len(drive.documents(folder)) == 1


async def test_filings_are_for_administrators_buyers_and_auditors(organisation: TestOrganisation) -> None:
    await pdf_of(organisation, await organisation.issued())
    (filing,) = await filings(organisation)
    for member in (organisation.buyer, organisation.auditor):
        assert (await ok(member.get("/filings"))).json()["items"] == [filing]
        await refusal_of(member.post(f"/filings/{filing['id']}/retry"), 403, "missing_role")
        await refusal_of(member.get(SETTINGS), 403, "missing_role")
        await refusal_of(member.post(CHECK), 403, "missing_role")
    await refusal_of(organisation.requester.get("/filings"), 403, "missing_role")
    await refusal_of(organisation.admin.post("/filings/1/retry"), 404, "filing_not_found")


async def test_a_draft_is_not_filed(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    await ok(perform(organisation.buyer, order, "cancel"))
    await work_until_idle(organisation)
    assert await filings(organisation) == []
