"""Normalisation of text: one spelling per name, no invisible characters."""

import hashlib
import re
import unicodedata
from decimal import Decimal

# Half of what an entry of an index can hold.
MAX_KEY_BYTES = 1200

# Everything in Unicode's category Cc but tab, line feed and carriage return; PostgreSQL refuses NUL in any text.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LINE_BREAKS = re.compile(r"[\t\n\r]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, whose ranges include all that may be added.
_IGNORABLES = (
    "\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IGNORABLE = re.compile(f"[{_IGNORABLES}]")
# Further characters without a glyph: the blank of Braille, a null notehead, the marks of annotations.
_NOT_DISPLAYED = re.compile(f"[{_IGNORABLES}\u2800\ufff9-\ufffb\U0001d159]")


def normalise(text: str) -> str:
    """`text` in NFC without white space around it."""
    return unicodedata.normalize("NFC", text).strip()


def name_key(text: str) -> str:
    """The form in which names are equal that look alike: Unicode's NFKC_Casefold, with white space folded.

    It disregards letter case, width and other compatibility forms, and characters that are not displayed; of a text
    without visible ones it is empty. Some characters become many: instead of a key over MAX_KEY_BYTES there is its
    digest. For e-mail addresses there is `core.email`.
    """
    key = text
    while (folded := _folded(key)) != key:  # composing may produce what casefolding changes
        key = folded
    key = " ".join(key.split())
    return key if len(key.encode()) <= MAX_KEY_BYTES else hashlib.sha256(key.encode()).hexdigest()


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", _IGNORABLE.sub("", unicodedata.normalize("NFD", text).casefold()))


def without_ignorable(text: str) -> str:
    """`text` without characters that are not displayed, such as those that change the direction of others."""
    return _IGNORABLE.sub("", text)


def is_visible(text: str) -> bool:
    """Whether anything of `text` is displayed."""
    return bool(_NOT_DISPLAYED.sub("", text).strip())


def has_forbidden_characters(text: str, *, multiline: bool = True) -> bool:
    """Whether `text` holds control characters or lone surrogates (and, unless multiline, tabs or line breaks)."""
    if _CONTROL_CHARACTERS.search(text) or _SURROGATES.search(text):
        return True
    return not multiline and _LINE_BREAKS.search(text) is not None


def printable(text: str) -> str:
    """`text` with U+FFFD in the place of characters that `has_forbidden_characters` finds."""
    return _SURROGATES.sub("\ufffd", _CONTROL_CHARACTERS.sub("\ufffd", text))


def plain(number: Decimal) -> str:
    """`number` without exponent and trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
