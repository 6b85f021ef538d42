"""`po-api serve` with the embedded server: it restarts a killed one, and stops one whose directory was moved."""

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from support.command_line import CommandLine
from support.demo_data import copy_demo
from support.metrics import scraped, with_metrics
from support.polling import is_running, wait_until
from support.server_processes import TIMEOUT, Environment, Server, environment_of, serving
from support.watchdog import temporary_directory

pytestmark = pytest.mark.heavy


@dataclass(frozen=True)
class Running:
    """A server with the demo organisation in the directory `place`."""

    server: Server
    environment: Environment
    place: Path

    @property
    def data_dir(self) -> Path:
        return self.place / "data"

    def postmaster(self) -> psutil.Process | None:
        """The first process of PostgreSQL; None while there is none."""
        try:
            pid = int((self.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
            return psutil.Process(pid) if is_running(pid) else None
        except (FileNotFoundError, IndexError, psutil.NoSuchProcess):
            return None

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of an event."""
        lines = (line for line in self.server.log.read_text().splitlines() if f'"event": "{name}"' in line)
        return [json.loads(line) for line in lines]


@pytest.fixture
def running() -> Iterator[Running]:
    with temporary_directory("po-supervised-") as place:
        copy_demo(place / "data")
        environment = with_metrics(environment_of(place))
        with serving(environment, place, "--demo") as server:
            yield Running(server, environment, place)


def restarts(running: Running) -> float | None:
    return scraped(running.environment).value("po_embedded_server_restarts_total")


def _has_restarted(running: Running, times: int) -> bool:
    return restarts(running) == times


def kill_postgres(running: Running) -> psutil.Process:
    """Kill the first process; returns it."""
    postmaster = running.postmaster()
    assert postmaster is not None
    postmaster.kill()
    return postmaster


def test_a_killed_server_is_restarted_and_its_data_kept(running: Running) -> None:
    token = next(line.split()[-1] for line in running.server.log.read_text().splitlines() if "access token" in line)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{running.server.address}/api/v1", headers=headers, timeout=TIMEOUT) as client:
        made = client.post("/suppliers", json={"name": "Lamps Ltd"})
        assert made.status_code == 201, made.text
        assert restarts(running) == 0
        for number in (1, 2):
            killed = kill_postgres(running)
            wait_until(partial(_has_restarted, running, number), "a restart")
            wait_until(running.server.is_ready, "readiness")
            assert running.postmaster() not in {None, killed}
            assert client.get(f"/suppliers/{made.json()['id']}").status_code == 200
    reports = running.events("embedded_server_restarted")
    assert [report["level"] for report in reports] == ["warning", "warning"]
    assert all("postmaster" in report["reason"] for report in reports), reports


def test_a_server_that_does_not_start_is_tried_again_later(running: Running) -> None:
    control = running.data_dir / "postgres" / "global" / "pg_control"
    away = control.with_name("away")
    control.rename(away)
    kill_postgres(running)
    wait_until(lambda: len(running.events("embedded_server_not_restarted")) > 1, "two failed attempts")
    ready = httpx.get(f"{running.server.address}/health/ready", timeout=TIMEOUT)
    assert (ready.status_code, ready.json()["reasons"][0]["code"]) == (503, "database_unreachable")
    assert httpx.get(f"{running.server.address}/health/live", timeout=TIMEOUT).status_code == 200
    away.rename(control)
    wait_until(running.server.is_ready, "readiness")
    failures = running.events("embedded_server_not_restarted")
    pauses = [failure["retry_after_seconds"] for failure in failures]
    assert pauses == sorted(set(pauses))
    assert all("pg_control" in failure["reason"] for failure in failures), failures
    wait_until(lambda: running.events("embedded_server_restarted"), "a report of the restart")


def test_a_server_whose_directory_was_moved_ends_with_the_api(running: Running) -> None:
    postmaster = running.postmaster()
    assert postmaster is not None
    moved = running.place / "moved"
    running.data_dir.rename(moved)
    wait_until(lambda: running.events("embedded_data_directory_moved"), "a report of the move")
    assert running.server.ends_with(signal.SIGTERM)
    assert not is_running(postmaster.pid)
    assert not running.data_dir.exists()  # nothing was created at the old path
    assert "admin@demo.example" in CommandLine.at(running.place, PO_DATA_DIR=str(moved)).users()


def _is_deleted(directory: Path) -> bool:
    """Delete it, unless the server's other processes create files meanwhile."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def test_a_deleted_directory_is_not_created_again(running: Running) -> None:
    postmaster = running.postmaster()
    assert postmaster is not None
    postmaster.suspend()
    wait_until(partial(_is_deleted, running.data_dir), "the end of writes to a deleted directory")
    postmaster.kill()
    wait_until(lambda: running.events("embedded_data_directory_moved"), "a report of the loss")
    assert running.server.ends_with(signal.SIGTERM)
    assert not running.data_dir.exists()
