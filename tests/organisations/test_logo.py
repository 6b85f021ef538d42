"""The logo: a PNG image that is checked byte for byte, stored without what drawing does not need, and deleted."""

import hashlib
import struct
import zlib

import pytest
import typst

from po_api.organisations.errors import InvalidLogo
from po_api.organisations.png import checked_png
from support.images import chunk, png
from support.organisations import TestOrganisation, ok, refused

PATH = "/organisations/current/logo"


def _file(content: bytes) -> dict[str, tuple[str, bytes]]:
    return {"file": ("logo.png", content)}


async def test_a_logo_is_uploaded_replaced_read_and_deleted(organisation: TestOrganisation) -> None:
    admin, image, other = organisation.admin, png(), png(2, 2)
    await refused(admin.get(PATH), 404, "logo_not_found")
    before = await ok(admin.get("/organisations/current"))
    uploaded = await ok(admin.put(PATH, etag=before.headers["ETag"], files=_file(image)))
    assert uploaded.json()["logo_digest"] == hashlib.sha256(image).hexdigest()
    assert uploaded.json()["version"] == before.json()["version"] + 1
    found = await ok(organisation.requester.get(PATH))
    assert (found.content, found.headers["content-type"]) == (image, "image/png")
    assert found.headers["content-disposition"] == 'attachment; filename="logo.png"'
    await refused(admin.put(PATH, etag=before.headers["ETag"], files=_file(other)), 412, "stale_version")
    await refused(admin.put(PATH, files=_file(other)), 428, "if_match_required")
    animated = _with(*IGNORED["animation"])
    same = await ok(admin.put(PATH, etag=uploaded.headers["ETag"], files=_file(animated)))
    assert same.json()["version"] == uploaded.json()["version"]
    replaced = await ok(admin.put(PATH, etag=same.headers["ETag"], files=_file(other)))
    assert (await ok(admin.get(PATH))).content == other
    deleted = await ok(admin.delete(PATH, etag=replaced.headers["ETag"]))
    assert deleted.json()["logo_digest"] is None
    await refused(admin.get(PATH), 404, "logo_not_found")
    await refused(admin.delete(PATH, etag="*"), 404, "logo_not_found")
    events = (await ok(admin.get("/organisations/current/history"))).json()["items"]
    assert [list(event["after"]) for event in events] == [["logo_digest"]] * 3


def test_images_of_all_kinds_are_taken() -> None:
    deep, flat = png(9, 3, pixels=bytes(3 * (1 + 9 * 8)), kind=(16, 6, 0)), png(9, 3, pixels=bytes(9), kind=(1, 0, 0))
    assert [checked_png(image) for image in (png(), deep, flat)] == [png(), deep, flat]
    # 3 × 3 pixels of a byte, interlaced: the widths and heights of the seven passes.
    passes = (1, 0, 0, 1, 2, 1, 3)
    rows = (1, 0, 0, 1, 1, 2, 1)
    pixels = b"".join(bytes(1 + width) * count for width, count in zip(passes, rows, strict=True) if width)
    checked_png(png(3, 3, pixels=pixels, kind=(8, 0, 1)))


def _with(*chunks: tuple[bytes, bytes], image: bytes | None = None) -> bytes:
    """An image with further chunks before its pixels."""
    image = png() if image is None else image
    return image[:33] + b"".join(chunk(kind, data) for kind, data in chunks) + image[33:]


_PIXELS = zlib.compress(bytes(20))
_INDEXED = png(1, 1, pixels=bytes(2), kind=(8, 3, 0))
# Without them, images that the typesetter refuses, reads for seconds, or says too much about.
IGNORED = {
    "animation": [(b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", struct.pack(">IIIIIHHBB", 0, 9, 9, 0, 0, 1, 1, 0, 0))],
    "short frame": [(b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", b"")],
    "colour space": [(b"cICP", b"\xff" * 4)],
    "bomb in a profile": [(b"iCCP", b"x\0\0" + zlib.compress(bytes(10_000_000)))],
    "place of a photograph": [(b"eXIf", b"MM\0*"), (b"tEXt", b"Author\0Ada")],
}


@pytest.mark.parametrize("name", IGNORED)
def test_what_drawing_does_not_need_is_not_stored(name: str) -> None:
    assert checked_png(_with(*IGNORED[name])) == png()


def test_colours_are_kept_and_drawn() -> None:
    images = (
        _with((b"PLTE", bytes(6)), (b"tRNS", b"\0"), image=_INDEXED),
        _with((b"tRNS", bytes(6))),
        _IMAGE[:33] + chunk(b"IDAT", _PIXELS[:5]) + chunk(b"IDAT", _PIXELS[5:]) + chunk(b"IEND", b""),
    )
    for image in images:
        assert checked_png(image) == image
        assert typst.compile(b"#image(bytes(json(bytes(sys.inputs.image))))", sys_inputs={"image": str([*image])})


def _replaced(old: bytes, new: bytes) -> bytes:
    return png().replace(old, new)


_IMAGE = png()
_HEADER = struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)
BROKEN = {
    "empty": b"",
    "text": b"not an image",
    "jpeg": b"\xff\xd8\xff\xe0" + b"\0" * 100,
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "signature only": _IMAGE[:8],
    "cut off": _IMAGE[:-1],
    "without its end": _IMAGE[:-12],
    "followed by more": _IMAGE + b"<script>",
    "checksum": _IMAGE[:-1] + b"\0",
    "unknown critical chunk": _IMAGE[:-12] + chunk(b"EVIL", b"") + chunk(b"IEND", b""),
    "two headers": _IMAGE[:-12] + chunk(b"IHDR", _HEADER) + chunk(b"IEND", b""),
    "short header": _IMAGE[:8] + chunk(b"IHDR", b"1") + _IMAGE[33:],
    "palette is missing": png(1, 1, pixels=bytes(2), kind=(8, 3, 0)),
    "palette is empty": _with((b"PLTE", b""), image=_INDEXED),
    "palette with a part of a colour": _with((b"PLTE", bytes(4)), image=_INDEXED),
    "palette with too many colours": _with((b"PLTE", bytes(3 * 257)), image=_INDEXED),
    "two palettes": _with((b"PLTE", bytes(3)), (b"PLTE", bytes(3)), image=_INDEXED),
    "palette after the pixels": _INDEXED[:-12] + chunk(b"PLTE", bytes(3)) + chunk(b"IEND", b""),
    "more transparency than colours": _with((b"PLTE", bytes(3)), (b"tRNS", bytes(2)), image=_INDEXED),
    "transparency of another kind": _with((b"tRNS", bytes(2))),
    "name of a chunk": _with((b"\0\0\0\0", b"")),
    "no pixels": png(0, 2),
    "too few pixels": png(3, 2, pixels=bytes(5)),
    "too many pixels": png(3, 2, pixels=bytes(10_000_000)),
    "unknown depth": png(3, 2, kind=(3, 2, 0)),
    "unknown filter": png(1, 1, pixels=b"\5\0\0\0"),
    "data after the stream": _IMAGE[:33] + chunk(b"IDAT", zlib.compress(bytes(20)) + b"more") + chunk(b"IEND", b""),
    "too wide": png(2049, 1, pixels=bytes(1 + 3 * 2049)),
    "too large": png()[:-12] + chunk(b"tEXt", bytes(512 * 1024)) + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_another_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidLogo):
        checked_png(BROKEN[name])


async def test_a_refused_file_names_its_part_of_the_form(organisation: TestOrganisation) -> None:
    admin = organisation.admin
    for content in (BROKEN["text"], BROKEN["cut off"], BROKEN["too large"]):
        problem = await refused(admin.put(PATH, etag="*", files=_file(content)), 422, "invalid_logo")
        assert [error["pointer"] for error in problem["errors"]] == ["/file"]
    await refused(admin.put(PATH, etag="*", files={"file": (None, "text")}), 422, "validation_failed")
    await refused(admin.get(PATH), 404, "logo_not_found")
