"""Files are scanned before anything is stored, by ClamAV's daemon with a signature of the tests."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from fastapi import FastAPI

from po_api.core.clamav_url import TcpAddress, UnixAddress, clamav_url
from po_api.files import scanning
from po_api.files.errors import ScannerUnavailable
from po_api.files.scanning import Scanner, scanner_of
from support.files import INFECTED, PDF, upload, uploaded
from support.organisations import TestOrganisation, ok, refused
from support.pages import all_items
from support.scanner import STREAM_BYTES, answering, clamd

UNREACHABLE = "tcp://127.0.0.1:1"


@contextmanager
def scanned_by(app: FastAPI, url: str) -> Iterator[None]:
    """Files are scanned by the daemon at this URL."""
    before, app.state.scanner = app.state.scanner, scanner_of(url)
    try:
        yield
    finally:
        app.state.scanner = before


@pytest.mark.heavy
async def test_infected_files_are_not_stored(
    app: FastAPI, organisation: TestOrganisation, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    path = f"/porfs/{(await organisation.pending()).json()['id']}"
    with clamd(tmp_path) as url, scanned_by(app, url):
        clean = await uploaded(organisation.requester, path, "clean.pdf", PDF)
        problem = await refused(upload(organisation.requester, path, "x.pdf", PDF + INFECTED), 422, "file_infected")
        assert problem["errors"][0]["pointer"] == "/file"
        # What the daemon refuses to look at is as good as not scanned.
        large = PDF + bytes(STREAM_BYTES)
        await refused(upload(organisation.requester, path, "large.pdf", large), 503, "scanner_unavailable")
    assert await all_items(organisation.requester, f"{path}/files") == [clean]
    stored = "SELECT count(*) FROM blobs WHERE organisation_id = $1"
    assert await owner.fetchval(stored, organisation.organisation_id) == 1


async def test_without_the_scanner_nothing_is_stored(app: FastAPI, organisation: TestOrganisation) -> None:
    path = f"/porfs/{(await organisation.pending()).json()['id']}"
    with scanned_by(app, UNREACHABLE):
        response = await upload(organisation.requester, path, "x.pdf", PDF)
        assert (response.status_code, response.json()["code"]) == (503, "scanner_unavailable")
        assert int(response.headers["Retry-After"]) > 0
        # Another reason comes first: the scanner is not asked about what is refused anyway.
        await refused(upload(organisation.requester, path, "x.pdf", b"MZ\0"), 415, "file_type_refused")
        ready = (await ok(organisation.client.get("/health/ready"))).json()
    assert "scanner_unreachable" in [warning["code"] for warning in ready["warnings"]]
    assert ready["status"] == "ready"
    assert await all_items(organisation.requester, f"{path}/files") == []


async def test_no_connection_is_held_while_a_file_is_scanned(app: FastAPI, organisation: TestOrganisation) -> None:
    path = f"/porfs/{(await organisation.pending()).json()['id']}"
    pool, held = app.state.database.engine.pool, []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0\0\0\0")
        held.append(pool.checkedout())
        writer.write(b"stream: OK\0")
        await writer.drain()

    async with answering(answer) as url:
        with scanned_by(app, url):
            await uploaded(organisation.requester, path, "x.pdf", b"%PDF-1.7 without zeros")
    assert held == [0]


@pytest.mark.parametrize(
    "reply", [b"", b"stream: lookup failed ERROR\0", b"x" * 100_000, b"INSTREAM size limit. ERROR\0"]
)
async def test_other_answers_are_no_verdict(reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(reply)

    async with answering(answer) as url:
        scanner = scanner_of(url)
        assert scanner is not None
        with pytest.raises(ScannerUnavailable):
            await scanner.require_clean(bytes(3 * 1024 * 1024))
        assert not await scanner.is_reachable()


async def test_a_scanner_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_SCAN_SECONDS", 0.05)

    async def answer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with answering(answer) as url:
        with pytest.raises(ScannerUnavailable):
            await Scanner(clamav_url(url)).require_clean(PDF)


def test_the_address_is_that_of_the_url() -> None:
    assert clamav_url("tcp://clamav:3310") == TcpAddress("clamav", 3310)
    assert clamav_url("tcp://[::1]") == TcpAddress("::1", 3310)
    assert clamav_url("unix:/run/clamav/clamd.ctl") == UnixAddress("/run/clamav/clamd.ctl")
    assert clamav_url("unix:///run/clamav/clamd.ctl") == UnixAddress("/run/clamav/clamd.ctl")
    for wrong in ("clamav:3310", "http://clamav", "tcp://", "tcp://clamav:x", "unix:relative", "tcp://a:b@clamav"):
        with pytest.raises(ValueError, match=r"expected|invalid"):
            clamav_url(wrong)
