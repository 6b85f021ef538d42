"""`WEB_CONCURRENCY`: several workers on one socket that are replaced and killed without an effect on clients."""

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi import FastAPI

from support.demo_data import copy_demo
from support.organisations import TestOrganisation
from support.polling import Deadline, wait_until
from support.server_processes import (
    TIMEOUT,
    WORKERS,
    Environment,
    Server,
    environment_in,
    environment_on,
    redis_server,
    serving,
)

pytestmark = pytest.mark.heavy


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return environment_in(tmp_path)


@pytest.fixture
def configured(urls: tuple[str, str], app: FastAPI, tmp_path: Path) -> Environment:
    """With the tests' database, which `app` has migrated."""
    return environment_on(urls, tmp_path)


def test_workers_that_die_are_replaced_and_no_request_in_progress_is_dropped(
    environment: Environment, tmp_path: Path
) -> None:
    copy_demo(tmp_path / "data")
    with serving(environment, tmp_path, "--demo") as server:
        postgres = _postgres(tmp_path)
        before = server.workers()
        assert len(before) == WORKERS
        before[0].kill()

        def is_replaced() -> bool:
            assert server.is_ready()  # the others go on meanwhile
            return len({worker.pid for worker in server.workers()} - {before[0].pid}) == WORKERS

        wait_until(is_replaced, "a worker in place of the killed one")
        assert all(server.is_ready() for _ in range(20))
        assert "worker_replaced" in server.log.read_text()

        for worker in server.workers():
            worker.kill()
        # A request waits in the socket's queue for the next one.
        assert server.is_ready()
        # The embedded server is the parent's.
        assert postgres.is_running()

        under_way = [_Request(server) for _ in range(12)]
        with ThreadPoolExecutor(1) as ending:
            ended = ending.submit(server.ends_with, signal.SIGTERM)
            deadline = Deadline("no further connections")
            while _accepts(server):
                deadline.check()
                time.sleep(0.05)
            # They get an error, since there is no store for the rate limits.
            assert [request.finish() for request in under_way] == ["HTTP/1.1 503"] * 12
            assert ended.result(TIMEOUT)
        assert server.process.returncode == 0
        assert psutil.wait_procs([postgres], timeout=TIMEOUT)[1] == []
    assert "Traceback" not in server.log.read_text()


def _postgres(place: Path) -> psutil.Process:
    """The embedded server's first process."""
    (pid_file,) = (place / "data").rglob("postmaster.pid")
    return psutil.Process(int(pid_file.read_text().split()[0]))


class _Request:
    """A request whose end has not been sent yet."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), TIMEOUT)
        self._socket.sendall(
            b"POST /api/v1/porfs HTTP/1.1\r\nHost: po\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\n\r\n{"
        )
        # 100 Continue: the request is being read.
        assert self._socket.recv(1024).startswith(b"HTTP/1.1 100")

    def finish(self) -> str:
        self._socket.sendall(b"}")
        with self._socket, self._socket.makefile("rb") as answer:
            return answer.readline().decode()[:12]


def _accepts(server: Server) -> bool:
    """Whether a worker accepts new connections; one that is stopping closes those without a request."""
    try:
        return server.is_ready()
    except httpx.TransportError:
        return False


def test_workers_do_not_outlive_their_parent(configured: Environment, tmp_path: Path) -> None:
    with serving(configured, tmp_path) as server:
        assert server.ends_with(signal.SIGKILL)


def test_all_workers_together_count_one_users_requests(
    configured: Environment, tmp_path: Path, organisation: TestOrganisation
) -> None:
    headers = {"Authorization": f"Bearer {organisation.requester.token}"}
    with redis_server(tmp_path) as store:
        limited = configured | {"RATE_LIMIT_STORAGE_URI": store, "RATE_LIMIT_PER_USER": "20/day"}
        with serving(limited, tmp_path) as server, ThreadPoolExecutor(8) as callers:

            def ask(_turn: int) -> int:
                return httpx.get(f"{server.address}/api/v1/porfs", headers=headers, timeout=TIMEOUT).status_code

            statuses = list(callers.map(ask, range(30)))
            assert len(server.workers()) == WORKERS
            assert server.ends_with(signal.SIGINT)
        assert server.process.returncode in {0, 130}
    assert (statuses.count(200), statuses.count(429)) == (20, 10)
