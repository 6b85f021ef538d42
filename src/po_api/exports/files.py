"""Files with a row for each item of a list, written batch by batch with bounded memory.

Text that a spreadsheet could evaluate is treated as in the export of lines (porfs/exports.py).
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from io import StringIO
from tempfile import TemporaryFile
from typing import IO, Protocol

from xlsxwriter import Workbook

from po_api.exports.columns import Column, Kind, Value
from po_api.porfs.exports import CREATED, Formats, csv_cell, write_cell
from po_api.porfs.exports import Kind as CellFormat

CHUNK_BYTES = 256 * 1024
_MOMENT_FORMAT = "yyyy-mm-dd hh:mm:ss"
_FORMATS = {
    Kind.TEXT: CellFormat.TEXT.value,
    Kind.TEXTS: CellFormat.TEXT.value,
    Kind.FLAG: CellFormat.TEXT.value,
    Kind.DATE: CellFormat.DATE.value,
    Kind.MOMENT: _MOMENT_FORMAT,
}


class TableFile(Protocol):
    """A file that is written batch by batch; its methods block."""

    def add(self, rows: Iterable[Sequence[Value]]) -> bytes:
        """Write the next rows; returns the part of the file that can be sent now."""

    def finish(self) -> Iterator[bytes]:
        """The rest of the file."""

    def close(self) -> None:
        """Release its resources, whether it is complete or not."""


class CsvFile:
    """Comma, CRLF, quotation marks around each cell, and a byte order mark; see porfs/exports.py."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._head: Iterable[Sequence[str]] = [[column.name for column in columns]]

    def add(self, rows: Iterable[Sequence[Value]]) -> bytes:
        buffer = StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
        encoding = "utf-8-sig" if self._head else "utf-8"
        writer.writerows(self._head)
        self._head = ()
        writer.writerows([_csv_cell(value) for value in row] for row in rows)
        return buffer.getvalue().encode(encoding)

    def finish(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        pass


def _csv_cell(value: Value) -> str:
    return _in_utc(value).isoformat() + "Z" if isinstance(value, datetime) else csv_cell(value)


def _in_utc(moment: datetime) -> datetime:
    """Spreadsheets have no time zones."""
    return moment.astimezone(UTC).replace(tzinfo=None)


class XlsxFile:
    """A workbook with times in UTC. Its rows are on the disk; nothing can be sent before it is complete."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115
        # Each row is written to the disk when the next one begins.
        self._workbook = Workbook(self._file, {"constant_memory": True})
        self._workbook.set_properties({"created": CREATED})
        self._formats = Formats(self._workbook)
        self._sheet = self._workbook.add_worksheet("Export")
        self._sheet.freeze_panes(1, 0)
        for number, column in enumerate(columns):
            cell_format = self._formats.of(_FORMATS.get(column.kind, CellFormat.NUMBER.value))
            self._sheet.set_column(number, number, column.width, cell_format)
        for number, column in enumerate(columns):
            self._sheet.write_string(0, number, column.name, self._formats.header)
        self._rows = 0

    def add(self, rows: Iterable[Sequence[Value]]) -> bytes:
        for row in rows:
            self._rows += 1
            for number, value in enumerate(row):
                self._write(number, value)
        return b""

    def _write(self, number: int, value: Value) -> None:
        if isinstance(value, datetime):
            moment = _in_utc(value).replace(microsecond=0)
            self._sheet.write_datetime(self._rows, number, moment, self._formats.of(_MOMENT_FORMAT))
        else:
            write_cell(self._sheet, self._rows, number, value, self._formats)

    def finish(self) -> Iterator[bytes]:
        self._workbook.close()
        self._file.seek(0)
        return iter(lambda: self._file.read(CHUNK_BYTES), b"")

    def close(self) -> None:
        if not self._workbook.fileclosed:
            self._workbook.close()  # its own files on the disk
        self._file.close()
