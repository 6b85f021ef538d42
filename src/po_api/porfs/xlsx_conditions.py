"""The cells of a sheet whose number format depends on a condition, which is not computed here."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from po_api.porfs.xlsx_parts import DamagedFile, InvalidFile, PartReader
from po_api.porfs.xlsx_styles import number_of

# A hostile file would have as many as its size allows.
MAX_RANGES = 10_000
_LAST = 2**31

# A cell (F2), a block of cells (F2:G9), whole columns (F:G) or whole rows (2:9).
_RANGE = re.compile(r"([A-Z]{0,3})([0-9]{0,7})(?::([A-Z]{0,3})([0-9]{0,7}))?", re.IGNORECASE)


class _Range(NamedTuple):
    """Rows and columns from 0, each with the last one."""

    top: int
    left: int
    bottom: int
    right: int


def column_index(letters: str) -> int:
    """The index from 0 of the column with these letters."""
    index = 0
    for letter in letters.upper():
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


class ConditionalFormats(PartReader):
    """Reads the rules of a sheet that change the number format or hide the number.

    Those of the first version have their styles in styles.xml. Those of Excel 2010 contain theirs, and their ranges are
    the text of an element.

    `styles` are the numbers of the conditional styles that have a number format.
    """

    def __init__(self, styles: Collection[int]) -> None:
        self._styles = styles
        self._references: list[str] = []
        self._reference = ""
        self._has_format = self._is_reference = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "conditionalFormatting":
            self._reference = attributes.get("sqref", "")
            self._has_format = False
        elif name == "cfRule" and "dxfId" in attributes:
            self._has_format |= number_of(attributes["dxfId"]) in self._styles
        elif name == "numFmt":
            self._has_format = True
        elif name in ("dataBar", "iconSet"):
            # Bars and icons may replace the number.
            self._has_format |= attributes.get("showValue", "1") in ("0", "false")
        self._is_reference = name == "sqref"

    def text(self, data: str) -> None:
        if self._is_reference:
            self._reference += data

    def end(self, name: str) -> None:
        self._is_reference = False
        if name == "conditionalFormatting" and self._has_format:
            self._references.append(self._reference)

    def found(self, cells: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Those of the cells, which are rows and columns from 0, to which a rule applies."""
        names = set(" ".join(self._references).replace("$", "").split())
        if not names:
            return
        if len(names) > MAX_RANGES:
            detail = "The sheet has too many conditional formats; remove them, and send the file again"
            raise InvalidFile("file_too_large", detail)
        rows_of: dict[int, list[int]] = {}
        for row, column in sorted(cells):
            rows_of.setdefault(column, []).append(row)
        for area in map(_range, names):
            for column, rows in rows_of.items():
                if area.left <= column <= area.right:
                    part = slice(bisect_left(rows, area.top), bisect_right(rows, area.bottom))
                    yield from ((row, column) for row in rows[part])
                    del rows[part]


def _range(name: str) -> _Range:
    match = _RANGE.fullmatch(name)
    if match is None:
        raise DamagedFile
    first_column, first_row, last_column, last_row = match.groups()
    if last_column is None:
        last_column, last_row = first_column, first_row
    is_whole = bool(first_column) == bool(last_column) and bool(first_row) == bool(last_row)
    if not is_whole or not (first_column or first_row):
        raise DamagedFile
    top, bottom = sorted((int(first_row) - 1, int(last_row) - 1)) if first_row else (0, _LAST)
    left, right = sorted(map(column_index, (first_column, last_column))) if first_column else (0, _LAST)
    return _Range(top, left, bottom, right)
