"""Full disks, with small file systems: of the database, and of the WAL archive."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from po_api.db.database import libpq_url
from po_api.operations import disk_reserve
from po_api.operations.databases import embedded
from po_api.operations.disk_reserve import RESERVE
from po_api.operations.embedded.server import embedded_server
from po_api.settings import Settings
from support.applications import SECRET_KEY, client_of, new_app
from support.command_line import CommandLine
from support.demo_data import copy_demo
from support.polling import until, wait_until
from support.server_processes import TIMEOUT, Server, environment_of, serving
from support.small_disks import SmallDisk, small_disk

pytestmark = pytest.mark.heavy

PORF = {"title": "Lamps", "lines": [{"description": "Lamp", "quantity": "1", "unit_price": "1"}] * 400}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """The disk of the database of the demo organisation."""
    with small_disk(tmp_path / "disk", 280) as made:
        copy_demo(made.path / "data")
        yield made


def events(server: Server, name: str) -> list[dict[str, Any]]:
    lines = (line for line in server.log.read_text().splitlines() if f'"event": "{name}"' in line)
    return [json.loads(line) for line in lines]


async def readiness(client: httpx.AsyncClient) -> tuple[int, list[str]]:
    ready = await client.get("/health/ready")
    return ready.status_code, [reason["code"] for reason in ready.json()["reasons"]]


def test_a_full_disk_is_reported_until_it_has_space(disk: SmallDisk, tmp_path: Path) -> None:
    data_dir = disk.path / "data"
    po = CommandLine.at(disk.path, SECRET_KEY=SECRET_KEY)
    with embedded_server(data_dir) as urls:
        token = po.ok("sessions", "create", "--email", "admin@demo.example").strip()
        asyncio.run(_fill_and_free(disk, urls.app, data_dir, {"Authorization": f"Bearer {token}"}))
        log = (data_dir / "postgres" / "server.log").read_text()
    assert "No space left on device" in log
    assert "Lamp" not in log


async def _fill_and_free(disk: SmallDisk, url: str, data_dir: Path, headers: dict[str, str]) -> None:
    # The second one takes it for another machine's database: it only knows what PostgreSQL reports.
    app, remote = new_app(url, po_data_dir=data_dir), new_app(url, po_data_dir=data_dir / "none")
    async with client_of(app) as client, client_of(remote) as distant:
        assert await readiness(client) == await readiness(distant) == (200, [])
        disk.fill()
        assert await readiness(client) == (503, ["disk_full"])
        assert await readiness(distant) == (200, [])
        with capture_logs() as lines:
            refused = await until(lambda: _refused(distant, headers), "a refused write")
        assert refused is not None
        assert (refused.json()["code"], refused.headers["Retry-After"]) == ("unavailable", "5")
        assert {"event": "database_shortage", "kind": "disk_full", "sqlstate": "53100", "log_level": "error"} in lines
        assert await readiness(distant) == (503, ["disk_full"])
        assert (await client.get("/api/v1/porfs", headers=headers)).status_code == 200
        disk.free()
        assert await readiness(client) == await readiness(distant) == (200, [])
        assert (await client.post("/api/v1/porfs", json=PORF, headers=headers)).status_code == 201


async def _refused(client: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response | None:
    """The response to a write, once it is refused."""
    response = await client.post("/api/v1/porfs", json=PORF, headers=headers)
    return response if response.status_code == 503 else None


def test_a_full_archive_does_not_stop_the_database(disk: SmallDisk, tmp_path: Path) -> None:
    with small_disk(tmp_path / "archive", 200) as archive:
        environment = environment_of(disk.path, BACKUP_DIR=str(archive.path / "backups"), SECRET_KEY=SECRET_KEY)
        po = CommandLine(environment, disk.path)
        reserve = po.data_dir / RESERVE
        with serving(environment, tmp_path) as server, embedded_server(po.data_dir) as urls:
            po.backup()
            wait_until(reserve.exists, "the reserve")
            archive.fill()
            asyncio.run(_write_until_full(urls.superuser))
            wait_until(lambda: events(server, "embedded_server_restarted"), "a restart")
            assert events(server, "disk_reserve_given_up")
            (report,) = events(server, "wal_archive_turned_off")
            assert report["archive"].startswith(str(archive.path))
            wait_until(server.is_ready, "readiness")
            assert _archiving(server) == "failing"
            # The operator makes room, and begins again.
            archive.free()
            po.backup()
            assert _archiving(server) == "not_failing"
            assert po.run("backup", "list")[2] == ""


def test_the_reserve_lets_a_full_database_start_and_archive(disk: SmallDisk, tmp_path: Path) -> None:
    with small_disk(tmp_path / "archive", 200) as archive:
        po = CommandLine.at(disk.path, BACKUP_DIR=str(archive.path / "backups"), SECRET_KEY=SECRET_KEY)
        po.backup()
        disk_reserve.tend(po.data_dir)
        with embedded(Settings(_env_file=None, po_data_dir=po.data_dir)) as urls:
            archive.fill()
            asyncio.run(_write_until_full(urls.superuser))
            status = po.data_dir / "postgres" / "postmaster.pid"
            wait_until(lambda: not status.exists(), "the end of a server that cannot recover")
        archive.free()
        code, users, errors = po.run("users", "list")
        assert (code, "admin@demo.example" in users) == (0, True), errors
        assert [json.loads(line)["event"] for line in errors.splitlines()] == ["disk_reserve_given_up"]
        with embedded(Settings(_env_file=None, po_data_dir=po.data_dir)):
            waiting = po.data_dir / "postgres" / "pg_wal" / "archive_status"
            wait_until(lambda: not list(waiting.glob("*.ready")), "an archive that has caught up")
        archived = sorted((archive.path / "backups" / "wal").glob("*/*[0-9A-F].gz"))
        numbers = [int(path.stem[16:], 16) for path in archived]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert len(numbers) > 5


def _archiving(server: Server) -> str:
    found: str = httpx.get(f"{server.address}/health/ready", timeout=TIMEOUT).json()["wal_archive"]
    return found


async def _write_until_full(url: str) -> None:
    """Fill WAL segments until PostgreSQL has no space for the next one."""
    connection = await asyncpg.connect(libpq_url(url))
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        for _ in range(100):
            await connection.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 15 << 20))")
    connection.terminate()
