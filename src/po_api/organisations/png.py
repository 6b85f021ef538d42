"""Checks PNG images, and takes away what drawing them does not need.

Pillow, which could do that, is 7 MB with decoders of forty other formats for untrusted files. Only the chunks that are
checked here are kept: the typesetter refuses images whose other chunks are invalid, such as those of an animation, and
with them every document of the organisation.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping

from po_api.core.errors import FieldError
from po_api.organisations.errors import InvalidLogo
from po_api.organisations.models import MAX_LOGO_BYTES

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MAX_PIXELS = 2048  # in one direction; at most 32 MB are unpacked
# Samples of a pixel by colour type, and the bit depths that a colour type may have.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_PALETTE = 3
_GREYS = {0, 4}
_MAX_COLOURS = 256
# The transparent colour has a sample of two bytes for each channel. Images with an alpha channel have none.
_TRANSPARENT_BYTES = {0: 2, 2: 6}
# The seven passes of an interlaced image: the first column and row, and the steps between them.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_MAX_FILTER = 4


def checked_png(content: bytes) -> bytes:
    """The image without metadata, animation and colour profile, which is `content` itself if it has none of these.

    Raises InvalidLogo unless the file is a whole PNG image within the limits. Takes up to 0.2 s of CPU time.
    """
    if len(content) > MAX_LOGO_BYTES:
        raise _invalid(f"must have at most {MAX_LOGO_BYTES // 1024} kB")
    if not content.startswith(_SIGNATURE):
        raise _invalid("must be a PNG image")
    try:
        return _checked(content)
    except (ValueError, zlib.error, struct.error):
        raise _invalid("must be an undamaged PNG image") from None


def _invalid(detail: str) -> InvalidLogo:
    return InvalidLogo(errors=(FieldError("/file", InvalidLogo.code, detail),))


def _checked(content: bytes) -> bytes:
    chunks = [(kind, data) for kind, data in _chunks(content) if kind in _KEPT]
    kinds = [kind for kind, _ in chunks]
    # Each once and in this order, but for parts of the image, between which there is nothing.
    if sorted(kinds, key=_KEPT.index) != kinds or any(kinds.count(kind) > 1 for kind in _KEPT if kind != b"IDAT"):
        raise ValueError("order of chunks")
    if kinds[:1] != [b"IHDR"] or chunks[-1:] != [(b"IEND", b"")]:
        raise ValueError("beginning or end")
    width, height, depth, colour, compression, filters, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth not in _DEPTHS.get(colour, ()) or (compression, filters) != (0, 0) or interlaced > 1:
        raise ValueError("kind of image")
    if max(width, height) > _MAX_PIXELS:
        raise _invalid(f"must have at most {_MAX_PIXELS} pixels in each direction")
    if min(width, height) == 0:
        raise ValueError("no image")
    _check_colours(colour, dict(chunks))
    rows = list(_rows(width, height, depth * _SAMPLES[colour], is_interlaced=bool(interlaced)))
    _check_rows(b"".join(data for kind, data in chunks if kind == b"IDAT"), rows)
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _check_colours(colour: int, chunks: Mapping[bytes, bytes]) -> None:
    """Raise ValueError unless palette and transparency are those of an image of this colour type."""
    palette, transparency = chunks.get(b"PLTE"), chunks.get(b"tRNS")
    if palette is None:
        if colour == _PALETTE:
            raise ValueError("no palette")
    elif colour in _GREYS or len(palette) % 3 or not 1 <= len(palette) // 3 <= _MAX_COLOURS:
        raise ValueError("palette")
    if transparency is None:
        return
    if colour == _PALETTE:
        if not 1 <= len(transparency) <= len(palette or b"") // 3:
            raise ValueError("transparency")
    elif len(transparency) != _TRANSPARENT_BYTES.get(colour):
        raise ValueError("transparency")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


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
        if not kind.isalpha() or (kind[:1].isupper() and kind not in _CRITICAL):
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
