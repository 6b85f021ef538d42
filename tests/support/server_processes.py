"""`po-api serve` in separate processes, with its workers."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from support.applications import SECRET_KEY
from support.forked import ForkedServer, po_api
from support.polling import Deadline

TIMEOUT = 60
WORKERS = 2
UNUSED_STORE = "redis://127.0.0.1:1"
Environment = dict[str, str]


def free_port() -> int:
    """A port on which nothing listens; not one that the system may give to an outgoing connection meanwhile."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("a hundred ports are in use")


def listens(port: int) -> bool:
    """Whether connections to a port are accepted."""
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), TIMEOUT):
        return True
    return False


def environment_of(place: Path, **variables: str) -> Environment:
    """One process with the embedded server in `place`, unless the variables configure another database.

    It does no work in the background: a database that tests share has work of all of them.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
    return kept | {"PO_DATA_DIR": str(place / "data"), "PORT": str(free_port()), "WORKER": "off"} | variables


def environment_in(place: Path) -> Environment:
    """Workers with the embedded server. Only requests with a rate limit use the store."""
    return environment_of(place, WEB_CONCURRENCY=str(WORKERS), RATE_LIMIT_STORAGE_URI=UNUSED_STORE)


def environment_on(urls: tuple[str, str], place: Path) -> Environment:
    """Workers with a database, which is migrated."""
    return environment_in(place) | {
        "DATABASE_URL": urls[1],
        "DATABASE_MIGRATION_URL": urls[0],
        "SECRET_KEY": SECRET_KEY,
    }


class Server:
    """`po-api serve` with its workers."""

    def __init__(self, process: ForkedServer, port: str, log: Path) -> None:
        self.process = process
        self.address = f"http://127.0.0.1:{port}"
        self.log = log
        self._port = int(port)

    def workers(self) -> list[psutil.Process]:
        """The processes that have its socket, too: its children, or those of the process that it was forked from."""
        first = psutil.Process(self.process.pid)
        siblings = [sibling for sibling in psutil.Process(first.ppid()).children() if sibling != first]
        return [other for other in (*first.children(), *siblings) if _listens(other, self._port)]

    def processes(self) -> list[psutil.Process]:
        """It, its workers, and all that they have started."""
        heads = [psutil.Process(self.process.pid), *self.workers()]
        return [*{found for head in heads for found in (head, *head.children(recursive=True))}]

    def is_ready(self) -> bool:
        """A request on a new connection, which any of the workers may accept."""
        return httpx.get(f"{self.address}/health/ready", timeout=TIMEOUT).status_code == 200

    def ends_with(self, how: signal.Signals) -> bool:
        """Whether the process and all that it started have ended after the signal."""
        started = self.processes()
        self.process.send_signal(how)
        self.process.wait(TIMEOUT)
        _, alive = psutil.wait_procs(started, timeout=TIMEOUT)
        return not alive


def _listens(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):  # it has just ended
        return any(found.laddr.port == port for found in process.net_connections("tcp") if found.status == "LISTEN")
    return False


@contextmanager
def serving(
    environment: Environment, place: Path, *options: str, main: Callable[[], object] = po_api
) -> Iterator[Server]:
    """`serve` with these options, once it answers, in a forked process; its workers are forked, too."""
    log = place / "log"
    process = ForkedServer(main, "serve", *options, environment=environment, directory=place, log=log)
    server = Server(process, environment["PORT"], log)
    try:
        deadline = Deadline("a server that answers")
        while True:
            try:
                assert server.is_ready(), log.read_text()
                break
            except httpx.TransportError:
                deadline.check()
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT)


@contextmanager
def redis_server(place: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server is installed")
    port = str(free_port())
    process = subprocess.Popen(
        [program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(place)], stdout=subprocess.DEVNULL
    )
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(TIMEOUT)
