"""Tables in CSV files: their records, the names of their columns, and the errors of an import by row and column."""

import csv
import re
from collections.abc import Collection, Iterator
from io import StringIO

from po_api.core.errors import MAX_LISTED_ERRORS, FieldError, Unprocessable
from po_api.core.text import name_key

_MAX_LINE = 131_072  # the csv module's limit for a field, in characters
_DELIMITERS = ",;\t"
# Headers of spreadsheets are written by people: "Unit price", "UNIT_PRICE" and "unitPrice" are one column.
_SEPARATORS = re.compile(r"[\s_\-‐‑.]+")


class ImportFailed(Unprocessable):
    """The file has errors; nothing was imported. `errors` lists each error with its row and column."""

    code = "import_failed"
    title = "Import failed"


class RowErrors:
    """Collects errors, all of them counted and the first thousand listed."""

    def __init__(self) -> None:
        self._listed: list[FieldError] = []
        self.count = 0

    def add(self, row: int, column: str, code: str, detail: str) -> None:
        self.count += 1
        if len(self._listed) < MAX_LISTED_ERRORS:
            where = f"Row {row}, column {column}" if column else f"Row {row}"
            escaped = column.replace("~", "~0").replace("/", "~1")
            pointer = f"/rows/{row}/{escaped}" if column else f"/rows/{row}"
            self._listed.append(FieldError(pointer, code, f"{where}: {detail}", "file"))

    def raise_if_any(self) -> None:
        """Raise ImportFailed if there are errors."""
        if not self.count:
            return
        more = self.count - len(self._listed)
        if more:
            self._listed.append(FieldError("/rows", "more_errors", f"Errors not listed: {more}", "file"))
        raise ImportFailed(f"Errors in the file: {self.count}; nothing was imported", errors=tuple(self._listed))


def header_key(name: str) -> str:
    """The form in which names of columns are compared: without case, white space, underscores and hyphens."""
    return _SEPARATORS.sub("", name_key(name))


def records(text: str, known: Collection[str]) -> Iterator[list[str]]:
    """The records of CSV text, separated by the delimiter with which most names of the header are `known` keys.

    The parser is strict: otherwise a quotation mark that is not closed would make one cell of the rest of the file.
    Raises csv.Error for a record that cannot be parsed.
    """
    return csv.reader(_physical_lines(text), delimiter=_delimiter(text, known), strict=True)


def _delimiter(text: str, known: Collection[str]) -> str:
    """The delimiter with which most names of the header are known; the comma if none are."""

    def found(delimiter: str) -> int:
        try:
            header = next(csv.reader(_physical_lines(text), delimiter=delimiter), [])
        except csv.Error:
            return 0
        return sum(header_key(cell) in known for cell in header)

    return max(_DELIMITERS, key=found)


def _physical_lines(text: str) -> Iterator[str]:
    """The lines with their line ends, which quoted cells keep. Raises csv.Error for a line over the limit."""
    for line in StringIO(text, newline=""):
        if len(line) > _MAX_LINE:
            raise csv.Error("line too long")
        yield line
