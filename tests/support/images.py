"""PNG images for tests."""

import struct
import zlib


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int = 3, height: int = 2, *, pixels: bytes | None = None, kind: tuple[int, int, int] = (8, 2, 0)
) -> bytes:
    """A PNG file; `kind` is bit depth, colour type, interlacing. The default is black, of 24 bits."""
    depth, colour, interlaced = kind
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    rows = bytes(height * (1 + 3 * width)) if pixels is None else pixels
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
