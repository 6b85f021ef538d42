"""Reading exchange rates from a CSV file: all rates, or all errors.

The first row names the columns, in any order. Nothing is rounded or guessed: a value that cannot be read exactly is an
error with its row and column.
"""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TypeVar

from po_api.core.csv_table import ImportFailed, RowErrors, header_key, records
from po_api.core.currencies import CURRENCIES, last_day
from po_api.core.errors import PayloadTooLarge
from po_api.exchange_rates.domain import DatedRate

MAX_FILE_BYTES = 1024 * 1024
MAX_ROWS = 10_000
COLUMNS = ("currency", "rate_date", "rate")

T = TypeVar("T")
_RATE = re.compile(r"[0-9]{1,10}(\.[0-9]{1,10})?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class _BadCell(Exception):
    """A cell cannot be read; `detail` completes "Row 7, column rate: "."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class RateRow:
    """A rate with the number of its row in the file, the header being row 1."""

    row: int
    rate: DatedRate


def parse(content: bytes, errors: RowErrors) -> list[RateRow]:
    """The rates of a file that can be read; the problems of all other rows are added to `errors`.

    Raises PayloadTooLarge, or ImportFailed for a file that is not text in UTF-8.
    """
    if len(content) > MAX_FILE_BYTES:
        raise PayloadTooLarge(f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ImportFailed("The file is not text in UTF-8; save it as CSV in UTF-8, and send that file") from None
    found: list[RateRow] = []
    row, columns = 0, dict[str, int]()
    known = {header_key(name): name for name in COLUMNS}
    try:
        for row, cells in enumerate(records(text, known), start=1):
            if row == 1:
                columns = _header(cells, known, errors)
            elif len(columns) < len(COLUMNS):
                break
            elif row > MAX_ROWS + 1:
                errors.add(row, "", "too_many_rows", f"a file may have {MAX_ROWS} rows")
                break
            elif any(cell.strip() for cell in cells):
                found.extend(_rates(row, cells, columns, errors))
    except csv.Error:
        # The ends of further rows are unknown.
        errors.add(row + 1, "", "invalid_row", "cannot be parsed: a quotation mark is missing or not doubled")
    if row == 0:
        _header([], known, errors)
    _require_distinct(found, errors)
    return found


def _header(cells: Sequence[str], known: Mapping[str, str], errors: RowErrors) -> dict[str, int]:
    """The index of each column, from 0."""
    columns: dict[str, int] = {}
    for index, cell in enumerate(cells):
        name = known.get(header_key(cell))
        if name is None:
            if cell.strip():
                errors.add(1, str(index + 1), "unknown_column", f"is not one of {', '.join(COLUMNS)}")
        elif name in columns:
            errors.add(1, name, "duplicate_column", "appears twice")
        else:
            columns[name] = index
    for name in COLUMNS:
        if name not in columns:
            errors.add(1, name, "missing_column", "is missing")
    return columns


def _rates(row: int, cells: Sequence[str], columns: Mapping[str, int], errors: RowErrors) -> list[RateRow]:
    """The rate of a row; none if the row has an error."""
    before, last = errors.count, max(columns.values())

    def read(name: str, reader: Callable[[str], T]) -> T | None:
        cell = cells[columns[name]].strip() if columns[name] < len(cells) else ""
        try:
            if cell:
                return reader(cell)
            raise _BadCell("required", "must not be empty")
        except _BadCell as error:
            errors.add(row, name, error.code, error.detail)
            return None

    currency, rate_date, rate = read("currency", _currency), read("rate_date", _date), read("rate", _rate)
    if any(cell.strip() for cell in cells[last + 1 :]):
        errors.add(row, "", "unexpected_cell", "has more values than there are columns")
    if errors.count > before or currency is None or rate_date is None or rate is None:
        return []
    return [RateRow(row, DatedRate(currency, rate_date, rate))]


def _currency(cell: str) -> str:
    code = cell.upper()
    if (last := last_day(code)) is not None:
        raise _BadCell("withdrawn_currency", f"must be a current currency; this one was legal tender until {last}")
    if code not in CURRENCIES:
        raise _BadCell("unknown_currency", "must be an ISO 4217 currency code")
    return code


def _date(cell: str) -> date:
    try:
        if _DATE.fullmatch(cell):
            return date.fromisoformat(cell)
    except ValueError:
        pass
    raise _BadCell("invalid_date", "must be a date such as 2026-12-31")


def _rate(cell: str) -> Decimal:
    if not _RATE.fullmatch(cell):
        raise _BadCell(
            "invalid_number", "must be a number such as 0.9215 with at most 10 digits before and after the point"
        )
    if not (rate := Decimal(cell)):
        raise _BadCell("out_of_range", "must be greater than 0")
    return rate


def _require_distinct(rows: Sequence[RateRow], errors: RowErrors) -> None:
    """Add an error for each row with the currency and the day of an earlier one."""
    first: dict[tuple[str, date], int] = {}
    for item in rows:
        earlier = first.setdefault((item.rate.currency, item.rate.rate_date), item.row)
        if earlier != item.row:
            errors.add(item.row, "rate_date", "duplicate_rate", f"has the currency and the day of row {earlier}")
