"""The cells of an imported file."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from po_api.porfs.number_formats import NumberFormat


class CellFailure(Enum):
    """A cell whose value is not in the file."""

    ERROR = "error"  # such as #REF!
    NO_VALUE = "no value"  # a formula that was not computed
    HIDDEN_ZERO = "hidden zero"  # a sheet that does not show zeros


@dataclass(frozen=True, slots=True)
class UnclearCell:
    """A cell that shows something else than its value; `format` is the reason, as text for people."""

    format: str


@dataclass(frozen=True, slots=True)
class NumberCell:
    """A number of a workbook. `value` is what a double holds, possibly not finite; day 0 of its dates is `epoch`."""

    value: Decimal
    format: NumberFormat
    epoch: dt.date


# Text as it is shown; empty for an empty cell.
Cell = str | bool | NumberCell | UnclearCell | CellFailure
