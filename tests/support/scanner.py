"""ClamAV's daemon with a database of the tests, and servers that answer as it would."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from support.files import INFECTED
from support.polling import wait_until

_SECONDS = 60
# Less than a file may have: what is longer is refused by the daemon.
STREAM_BYTES = 1024 * 1024


@contextmanager
def clamd(place: Path) -> Iterator[str]:
    """The URL of a running daemon, whose only signature is that of `INFECTED`."""
    program = shutil.which("clamd") or shutil.which("/usr/sbin/clamd")
    if program is None:
        pytest.skip("no clamd is installed")
    socket, log = place / "clamd.socket", place / "clamd.log"
    (place / "tests.ndb").write_text(f"PoApi.Test:0:*:{INFECTED.hex()}\n")
    configuration = {
        "DatabaseDirectory": place,
        "LocalSocket": socket,
        "StreamMaxLength": STREAM_BYTES,
        "Foreground": "yes",
        "MaxThreads": 2,
    }
    file = place / "clamd.conf"
    file.write_text("".join(f"{name} {value}\n" for name, value in configuration.items()))
    with log.open("wb") as output:
        process = subprocess.Popen([program, "--config-file", file], stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: socket.exists() or process.poll() is not None, "a socket of clamd")
        assert process.poll() is None, log.read_text()
        yield f"unix:{socket}"
    finally:
        process.terminate()
        process.wait(_SECONDS)


@asynccontextmanager
async def answering(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """The URL of a server that answers every connection so."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
