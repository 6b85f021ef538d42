"""A proxy on a Unix socket that counts the statements and round trips between an application and PostgreSQL.

A round trip is a ReadyForQuery of the server, for which the client has waited. That works for any driver, and includes
what hooks in drivers do not show: BEGIN and COMMIT, preparation of statements, pings, resets of connections.
"""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"
READY = "(ready for a query)"
_HEADER = 5  # the type's byte, and the length's four
_TRANSACTION = ("begin", "commit", "rollback", "start transaction")


class Log(list[str]):
    """The statements in their order, with READY where the application waited for the server."""

    @property
    def round_trips(self) -> int:
        return self.count(READY)

    def after(self, part: str) -> "Log":
        """The log after the result of the first statement that contains `part`; all of it if there is none."""
        for position, entry in enumerate(self):
            if part in entry:
                return Log(self[self.index(READY, position) + 1 :])
        return self

    @property
    def working(self) -> int:
        """The round trips with more than BEGIN, COMMIT, pings and the like; one may contain a statement many times."""
        trips: list[list[str]] = [[]]
        for entry in self:
            if entry == READY:
                trips.append([])
            else:
                trips[-1].append(entry)
        return sum(any(not _controls_transaction(entry) for entry in trip) for trip in trips)


def _controls_transaction(statement: str) -> bool:
    text = statement.strip(" ;\n").lower()
    return not text or text.startswith(_TRANSACTION)


class _Stream:
    """Splits a stream into messages; a client's first message has no type."""

    def __init__(self, *, has_startup: bool) -> None:
        self._buffer = bytearray()
        self._has_startup = has_startup

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._buffer += data
        while True:
            type_bytes = 0 if self._has_startup else 1
            if len(self._buffer) < type_bytes + 4:
                return
            length = type_bytes + int.from_bytes(self._buffer[type_bytes : type_bytes + 4])
            if len(self._buffer) < length:
                return
            message = bytes(self._buffer[:length])
            del self._buffer[:length]
            if not self._has_startup:
                yield message[:1], message[_HEADER:]
            self._has_startup = False


class _Conversation:
    """One connection: logs the client's statements and the server's ReadyForQuery."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._client = _Stream(has_startup=True)
        self._server = _Stream(has_startup=False)

    def from_client(self, data: bytes) -> None:
        for kind, body in self._client.feed(data):
            name, _, rest = body.partition(b"\x00")
            match kind:
                case b"Q":
                    self._log.append(name.decode())
                case b"P":
                    self._prepared[name] = rest.partition(b"\x00")[0].decode()
                case b"B":
                    self._portals[name] = self._prepared[rest.partition(b"\x00")[0]]
                case b"E":
                    self._log.append(self._portals[name])

    def from_server(self, data: bytes) -> None:
        self._log.extend(READY for kind, _ in self._server.feed(data) if kind == b"Z")


@contextmanager
def listening(url: str) -> Iterator[tuple[str, Log]]:
    """A proxy to the server of `url` in a thread of its own: the URL to use instead, and the log."""
    log = Log()
    target = str(make_url(url).query["host"])
    with tempfile.TemporaryDirectory(prefix="po-wire-") as directory:
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        ready = threading.Event()
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(_serve(Path(directory), Path(target), log, ready, stop))
        )
        thread.start()
        try:
            ready.wait()
            yield url.replace(target, directory), log
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


async def _serve(directory: Path, target: Path, log: Log, ready: threading.Event, stop: asyncio.Event) -> None:
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = _Conversation(log)
        there, back = await asyncio.open_unix_connection(target / SOCKET)
        for source, sink, note in (
            (reader, back, conversation.from_client),
            (there, writer, conversation.from_server),
        ):
            task = asyncio.create_task(_forward(source, sink, note))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(accept, directory / SOCKET)
    ready.set()
    await stop.wait()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter, note: object) -> None:
    assert callable(note)
    with suppress(ConnectionError):
        while data := await source.read(65536):
            note(data)
            sink.write(data)
            await sink.drain()
    sink.close()
