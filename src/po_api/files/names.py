"""Names of files that are safe on the systems on which they are stored or opened."""

import re
from urllib.parse import quote

from po_api.core.text import is_visible, normalise, printable, without_ignorable

MAX_NAME_LENGTH = 150
MAX_NAME_BYTES = 240
# Windows and shells refuse or interpret them.
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_SPACES = re.compile(r"\s+")
# Devices of Windows, with any extension.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE)
_WITHOUT_NAME = "file"


def safe_name(name: str, extensions: tuple[str, ...]) -> str:
    """The last part of a path without characters that are invisible or have a meaning, in at most 240 bytes.

    It ends in one of the `extensions`, the first of which is added to a name with another one.
    """
    last = re.split(r"[/\\]", name)[-1]
    text = _FORBIDDEN.sub("_", _SPACES.sub(" ", without_ignorable(printable(normalise(last))))).strip(" .")
    stem, dot, extension = text.rpartition(".")
    if not dot or extension.lower() not in extensions:
        stem, extension = text, extensions[0]
    stem = stem.strip(" .")
    if not is_visible(stem) or _RESERVED.fullmatch(stem.partition(".")[0].strip()):
        stem = f"{_WITHOUT_NAME} {stem}".strip()
    return f"{_shortened(stem, len(extension) + 1)}.{extension}"


def _shortened(stem: str, rest: int) -> str:
    cut = stem[: MAX_NAME_LENGTH - rest]
    while len(cut.encode()) > MAX_NAME_BYTES - rest:
        cut = cut[:-1]
    return cut.rstrip(" .")


def attachment_header(name: str) -> str:
    """The value of `Content-Disposition` for a download (RFC 6266); `name` is one of `safe_name`."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace("\\", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
