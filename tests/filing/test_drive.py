"""Requests to Google Drive: each of its answers has an end of its own."""

import hashlib
from datetime import timedelta

import pytest
from starlette.responses import JSONResponse, Response

from po_api.filing.domain import FilingProblem, NotFiled
from po_api.filing.drive import Drive, DriveFile, DriveSession
from support.google_drive import Cut, GoogleDrive, StoredFile, refused

FILES = "/drive/v3/files"
UPLOAD = "/upload/drive/v3/files"
LONG = bytes(range(256)) * 24 * 1024  # 6 MiB


def session_of(drive: GoogleDrive) -> Drive:
    return Drive(drive.account, drive.url)


async def filed(session: DriveSession, folder: StoredFile, content: bytes, *, file_id: str | None = None) -> DriveFile:
    parent = await session.get(folder.id)
    assert parent is not None
    digest = hashlib.sha256(content).hexdigest()
    return await session.create_document(
        file_id or await session.new_id(), "a.pdf", parent, digest=digest, content=content
    )


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (refused(400, "badRequest"), FilingProblem.DRIVE_REFUSED),
        (refused(403, "userRateLimitExceeded"), FilingProblem.RATE_LIMITED),
        (refused(403, "rateLimitExceeded"), FilingProblem.RATE_LIMITED),
        (refused(403, "storageQuotaExceeded"), FilingProblem.STORAGE_FULL),
        (refused(403, "teamDriveFileLimitExceeded"), FilingProblem.STORAGE_FULL),
        (refused(403, "insufficientFilePermissions"), FilingProblem.FOLDER_READ_ONLY),
        (refused(403, "accessNotConfigured"), FilingProblem.DRIVE_DISABLED),
        (refused(404, "notFound"), FilingProblem.FOLDER_NOT_FOUND),
        (refused(429, "rateLimitExceeded"), FilingProblem.RATE_LIMITED),
        (refused(500, "backendError"), FilingProblem.DRIVE_UNAVAILABLE),
        (Response("<html>", 503), FilingProblem.DRIVE_UNAVAILABLE),
        (Cut(), FilingProblem.DRIVE_UNAVAILABLE),
    ],
)
async def test_each_refusal_is_a_problem_of_its_own(
    drive: GoogleDrive, answer: Response, problem: FilingProblem
) -> None:
    drive.fail("GET", f"{FILES}/generateIds", answer)
    with pytest.raises(NotFiled) as raised:
        async with session_of(drive).connected() as session:
            await session.new_id()
    assert raised.value.problem is problem


async def test_a_limit_says_when_to_try_again(drive: GoogleDrive) -> None:
    drive.fail("GET", f"{FILES}/generateIds", refused(429, "rateLimitExceeded", **{"Retry-After": "90"}))
    with pytest.raises(NotFiled) as raised:
        async with session_of(drive).connected() as session:
            await session.new_id()
    assert (raised.value.after, raised.value.detail) == (timedelta(seconds=90), "429 rateLimitExceeded")


async def test_a_token_is_used_until_drive_refuses_it(drive: GoogleDrive) -> None:
    account = session_of(drive)
    async with account.connected() as session:
        await session.new_id()
        await session.new_id()
    assert drive.requests["POST", "/token"] == 1
    drive.tokens.clear()
    async with account.connected() as session:
        await session.new_id()
    assert drive.requests["POST", "/token"] == 2
    drive.fail("GET", f"{FILES}/generateIds", refused(401, "authError"), refused(401, "authError"))
    with pytest.raises(NotFiled) as raised:
        async with account.connected() as session:
            await session.new_id()
    assert raised.value.problem is FilingProblem.CREDENTIALS_REFUSED


@pytest.mark.parametrize("answer", [None, JSONResponse({"error": "invalid_client"}, 401), Response("no", 500)])
async def test_a_revoked_key_gets_no_token(drive: GoogleDrive, answer: Response | None) -> None:
    drive.is_key_revoked = True
    if answer is not None:
        drive.fail("POST", "/token", answer)
    with pytest.raises(NotFiled) as raised:
        async with session_of(drive).connected() as session:
            await session.new_id()
    is_down = answer is not None and answer.status_code == 500
    expected = FilingProblem.DRIVE_UNAVAILABLE if is_down else FilingProblem.CREDENTIALS_REFUSED
    assert raised.value.problem is expected


async def test_a_token_without_the_scope_is_a_problem_of_its_own(drive: GoogleDrive) -> None:
    drive.scope = "https://www.googleapis.com/auth/drive.readonly"
    with pytest.raises(NotFiled) as raised:
        async with session_of(drive).connected() as session:
            await session.new_id()
    assert raised.value.problem is FilingProblem.SCOPE_MISSING


@pytest.mark.parametrize("drive_id", [None, "shared-drive"])
@pytest.mark.parametrize("content", [b"%PDF\r\n--short\r\n", LONG], ids=["in one", "in parts"])
async def test_what_is_uploaded_arrives_and_is_found(drive: GoogleDrive, drive_id: str | None, content: bytes) -> None:
    folder = drive.folder("Orders", drive_id=drive_id)
    async with session_of(drive).connected() as session:
        made = await filed(session, folder, content)
        parent = await session.get(folder.id)
        assert parent is not None
        found = await session.find_document(parent, "renamed.pdf", hashlib.sha256(content).hexdigest())
    assert found == made
    assert made.url == f"https://drive.google.com/file/d/{made.id}/view"
    assert drive.documents(folder) == {"a.pdf": content}


@pytest.mark.parametrize("kept", [0, 1024 * 1024, 2 * 1024 * 1024])
async def test_an_upload_goes_on_after_a_break(drive: GoogleDrive, kept: int) -> None:
    folder = drive.folder("Orders")
    drive.kept_bytes = kept
    async with session_of(drive).connected() as session:
        await filed(session, folder, LONG)
    assert drive.documents(folder) == {"a.pdf": LONG}
    # Three parts, the one that was cut, and the question how much of it has arrived.
    assert drive.requests["PUT", "session"] <= 5


async def test_an_upload_ends_after_some_breaks(drive: GoogleDrive) -> None:
    folder = drive.folder("Orders")
    drive.fail("PUT", "session", *(Response(status_code=503) for _ in range(20)))
    with pytest.raises(NotFiled) as raised:
        async with session_of(drive).connected() as session:
            await filed(session, folder, LONG)
    assert raised.value.problem is FilingProblem.DRIVE_UNAVAILABLE
    assert drive.requests["PUT", "session"] == 4


@pytest.mark.parametrize("answer", [Response(status_code=308), Response(status_code=404), refused(403, "forbidden")])
async def test_an_upload_without_progress_ends(drive: GoogleDrive, answer: Response) -> None:
    folder = drive.folder("Orders")
    drive.fail("PUT", "session", *[answer] * 20)
    with pytest.raises(NotFiled):
        async with session_of(drive).connected() as session:
            await filed(session, folder, LONG)
    assert drive.documents(folder) == {}


async def test_a_session_elsewhere_gets_no_token(drive: GoogleDrive) -> None:
    folder = drive.folder("Orders")
    drive.fail("POST", UPLOAD, Response(headers={"Location": "http://127.0.0.1:1/upload"}))
    with pytest.raises(NotFiled) as raised:
        async with session_of(drive).connected() as session:
            await filed(session, folder, LONG)
    assert raised.value.problem is FilingProblem.DRIVE_REFUSED


@pytest.mark.parametrize("content", [b"%PDF", LONG], ids=["in one", "in parts"])
async def test_a_repetition_with_the_same_id_finds_the_file(drive: GoogleDrive, content: bytes) -> None:
    folder = drive.folder("Orders")
    async with session_of(drive).connected() as session:
        made = await filed(session, folder, content)
        assert await filed(session, folder, content, file_id=made.id) == made
    assert drive.documents(folder) == {"a.pdf": content}


async def test_another_file_with_the_name_is_a_problem(drive: GoogleDrive) -> None:
    folder = drive.folder("Orders")
    drive.put(folder, "a.pdf", "application/pdf")
    async with session_of(drive).connected() as session:
        parent = await session.get(folder.id)
        assert parent is not None
        assert await session.find_document(parent, "b.pdf", "0" * 64) is None
        with pytest.raises(NotFiled) as raised:
            await session.find_document(parent, "a.pdf", "0" * 64)
    assert raised.value.problem is FilingProblem.NAME_TAKEN


@pytest.mark.parametrize("access", [None, "reader"])
async def test_a_folder_that_is_not_seen_contains_nothing(drive: GoogleDrive, access: str | None) -> None:
    folder = drive.folder("Orders", access=access, drive_id="shared-drive")
    drive.put(folder, "proof")
    drive.put(folder, "other.txt")
    async with session_of(drive).connected() as session:
        assert await session.contains(folder.id, "proof") == (access is not None)
        assert await session.contains(folder.id, "other") == (access is not None)
        assert not await session.contains(folder.id, "prooftxt")
        assert not await session.contains("absent", "proof")
        assert (await session.get(folder.id) is None) == (access is None)
