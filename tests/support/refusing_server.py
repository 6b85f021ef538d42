"""A server that speaks as much of PostgreSQL's protocol as it takes to refuse a connection."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_TLS_REQUEST = 80877103


@asynccontextmanager
async def refusing(sqlstate: str) -> AsyncIterator[str]:
    """The URL of a server that refuses every connection with this SQLSTATE."""

    async def message(reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        return await reader.readexactly(length - 4)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if struct.unpack("!I", (await message(reader))[:4]) == (_TLS_REQUEST,):
                writer.write(b"N")
                await message(reader)
            fields = b"SFATAL\0VFATAL\0C" + sqlstate.encode() + b"\0Mnot now\0\0"
            writer.write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
            await writer.drain()
        finally:
            writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"postgresql+asyncpg://po_app@127.0.0.1:{server.sockets[0].getsockname()[1]}/po_api"
