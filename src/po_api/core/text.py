"""Normalisation of text: one spelling per name, no invisible characters."""

import re
import unicodedata

# Everything in Unicode's category Cc but tab, line feed and carriage return; PostgreSQL refuses NUL in any text.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LINE_BREAKS = re.compile(r"[\t\n\r]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def normalise(text: str) -> str:
    """`text` in NFC without white space around it."""
    return unicodedata.normalize("NFC", text).strip()


def canonical(text: str) -> str:
    """The form in which two spellings of one name are equal: casefold(NFC(text)), as domain.md defines it.

    For names of suppliers, not for e-mail addresses: these have `users.domain.canonical_email`.
    """
    return normalise(text).casefold()


def has_forbidden_characters(text: str, *, multiline: bool = True) -> bool:
    """Whether `text` holds control characters or lone surrogates (and, unless multiline, tabs or line breaks)."""
    if _CONTROL_CHARACTERS.search(text) or _SURROGATES.search(text):
        return True
    return not multiline and _LINE_BREAKS.search(text) is not None
