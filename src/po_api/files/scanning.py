"""Asking ClamAV's daemon about a file, over its socket.

The protocol has three commands that matter here; libraries for it (clamd, pyclamd) block, and have no releases.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from po_api.core.clamav_url import TcpAddress, UnixAddress, clamav_url
from po_api.files.errors import FileInfected, ScannerUnavailable
from po_api.observability.logging import get_logger

_CHUNK = 256 * 1024
_SCAN_SECONDS = 60
_CONNECT_SECONDS = 5
# Less than a readiness probe takes at most.
_PING_SECONDS = 2
_RETRY_AFTER_SECONDS = "30"
_MAX_REPLY = 4096
_OK, _FOUND = b"stream: OK", b" FOUND"
_log = get_logger(__name__)


class ScanFailed(Exception):
    """There was no verdict; the message is for the log."""


class Scanner:
    """ClamAV's daemon at an address."""

    def __init__(self, address: TcpAddress | UnixAddress) -> None:
        self._address = address

    async def require_clean(self, content: bytes) -> None:
        """Raise FileInfected if something was found in a file, and ScannerUnavailable if there was no verdict.

        The caller has checked the size; no transaction may be open meanwhile.
        """
        try:
            async with asyncio.timeout(_SCAN_SECONDS):
                reply = await self._scan(content)
        except (OSError, TimeoutError, ScanFailed) as error:
            _log.warning("file_scan_failed", error=str(error) or type(error).__name__)
            raise ScannerUnavailable(headers={"Retry-After": _RETRY_AFTER_SECONDS}) from None
        if reply == _OK:
            return
        _log.warning("file_infected", finding=reply.removesuffix(_FOUND).decode("utf-8", "replace"))
        raise FileInfected

    async def is_reachable(self) -> bool:
        """Whether the daemon answers."""
        try:
            async with asyncio.timeout(_PING_SECONDS), self._connected() as (reader, writer):
                writer.write(b"zPING\0")
                return await _reply(reader) == b"PONG"
        except (OSError, TimeoutError, ScanFailed):
            return False

    async def _scan(self, content: bytes) -> bytes:
        """The verdict: `stream: OK`, or one that ends in ` FOUND`. Raises ScanFailed for any other answer."""
        async with self._connected() as (reader, writer):
            # The daemon answers and closes as soon as it refuses the rest.
            with suppress(ConnectionError):
                await _send(writer, content)
            reply = await _reply(reader)
        if reply != _OK and not reply.endswith(_FOUND):
            raise ScanFailed(reply.decode("utf-8", "replace") or "no answer")
        return reply

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        address = self._address
        async with asyncio.timeout(_CONNECT_SECONDS):
            if isinstance(address, UnixAddress):
                reader, writer = await asyncio.open_unix_connection(address.path)
            else:
                reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def _send(writer: asyncio.StreamWriter, content: bytes) -> None:
    """The content in chunks, each after its length, and one of length 0."""
    writer.write(b"zINSTREAM\0")
    view = memoryview(content)
    for start in range(0, len(content), _CHUNK):
        chunk = view[start : start + _CHUNK]
        writer.write(struct.pack("!I", len(chunk)))
        writer.write(chunk)
        await writer.drain()
    writer.write(struct.pack("!I", 0))
    await writer.drain()


async def _reply(reader: asyncio.StreamReader) -> bytes:
    try:
        reply = await reader.readuntil(b"\0")
    except asyncio.IncompleteReadError as error:
        reply = error.partial
    except asyncio.LimitOverrunError:
        raise ScanFailed("the answer is too long") from None
    return reply[:_MAX_REPLY].rstrip(b"\0\n")


def scanner_of(url: str | None) -> Scanner | None:
    """The scanner of the configuration; None without one."""
    return None if url is None else Scanner(clamav_url(url))
