"""The texts of an XLSX file: those of inline strings, and the table of shared ones."""

import re

from po_api.porfs.xlsx_parts import DamagedFile, PartReader

MAX_STRINGS = 1_000_000

# A character that XML cannot contain, or this notation itself.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class TextReader(PartReader):
    """Collects the text of the elements `t`, without phonetic hints."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._is_text = False
        self._is_hint = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "rPh":
            self._is_hint = True
        self._is_text = name == "t" and not self._is_hint

    def text(self, data: str) -> None:
        if self._is_text:
            self._pieces.append(data)

    def end(self, name: str) -> None:
        if name == "rPh":
            self._is_hint = False
        self._is_text = False

    def take(self) -> str:
        text = "".join(self._pieces)
        self._pieces = []
        return unescaped(text)


def unescaped(text: str) -> str:
    """The text of a string in the file, with the characters that it names by their numbers."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


class SharedStrings(PartReader):
    """sharedStrings.xml."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._text = TextReader()
        self._is_inside = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "si":
            if self._is_inside or len(self.texts) >= MAX_STRINGS:
                raise DamagedFile
            self._is_inside = True
        elif self._is_inside:
            self._text.start(name, attributes)

    def text(self, data: str) -> None:
        self._text.text(data)

    def end(self, name: str) -> None:
        self._text.end(name)
        if name == "si":
            self._is_inside = False
            self.texts.append(self._text.take())
