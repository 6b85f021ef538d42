"""Checks PNG images. Pillow, which could do that, is 7 MB with decoders of forty other formats for untrusted files."""

import struct
import zlib
from collections.abc import Iterator

from po_api.core.errors import FieldError
from po_api.organisations.errors import InvalidLogo
from po_api.organisations.models import MAX_LOGO_BYTES

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PIXELS = 2048  # in one direction; at most 32 MB are unpacked
# Samples of a pixel by colour type, and the bit depths that a colour type may have.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_PALETTE = 3
# The seven passes of an interlaced image: the first column and row, and the steps between them.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_MAX_FILTER = 4


def require_png(content: bytes) -> None:
    """Raise InvalidLogo unless the file is a whole PNG image within the limits. Takes up to 0.2 s of CPU time."""
    if len(content) > MAX_LOGO_BYTES:
        raise _invalid(f"must have at most {MAX_LOGO_BYTES // 1024} kB")
    if not content.startswith(_SIGNATURE):
        raise _invalid("must be a PNG image")
    try:
        _check(content)
    except (ValueError, zlib.error, struct.error):
        raise _invalid("must be an undamaged PNG image") from None


def _invalid(detail: str) -> InvalidLogo:
    return InvalidLogo(errors=(FieldError("/file", InvalidLogo.code, detail),))


def _check(content: bytes) -> None:
    chunks = list(_chunks(content))
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds[-1:] != [b"IEND"] or kinds.count(b"IHDR") + kinds.count(b"IEND") != 2:
        raise ValueError("order of chunks")
    width, height, depth, colour, compression, filters, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth not in _DEPTHS.get(colour, ()) or (compression, filters) != (0, 0) or interlaced > 1:
        raise ValueError("kind of image")
    if max(width, height) > _MAX_PIXELS:
        raise _invalid(f"must have at most {_MAX_PIXELS} pixels in each direction")
    if min(width, height) == 0 or (colour == _PALETTE) > (b"PLTE" in kinds):
        raise ValueError("no image")
    rows = list(_rows(width, height, depth * _SAMPLES[colour], is_interlaced=bool(interlaced)))
    _check_rows(b"".join(data for kind, data in chunks if kind == b"IDAT"), rows)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The type and the data of each chunk. Raises ValueError for a wrong length or checksum, or an unknown chunk that a
    reader may not skip."""
    place = len(_SIGNATURE)
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, place + 8 + length)
        if checksum != zlib.crc32(kind + data):
            raise ValueError("checksum")
        if kind[:1].isupper() and kind not in {b"IHDR", b"PLTE", b"IDAT", b"IEND"}:
            raise ValueError("unknown chunk")
        yield kind, data
        place += 12 + length


def _rows(width: int, height: int, bits: int, *, is_interlaced: bool) -> Iterator[int]:
    """The length in bytes of each row of pixels, without the byte that names its filter."""
    passes = _ADAM7 if is_interlaced else ((0, 0, 1, 1),)
    for x, y, dx, dy in passes:
        columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
        if columns > 0 and rows > 0:
            yield from [(columns * bits + 7) // 8] * rows


def _check_rows(compressed: bytes, rows: list[int]) -> None:
    """Raise ValueError unless the compressed data are exactly these rows; no more is unpacked than they take."""
    size = sum(rows) + len(rows)
    stream = zlib.decompressobj()
    pixels = stream.decompress(compressed, size + 1)
    if len(pixels) != size or not stream.eof or stream.unused_data:
        raise ValueError("size of the image")
    place = 0
    for length in rows:
        if pixels[place] > _MAX_FILTER:
            raise ValueError("filter")
        place += 1 + length
