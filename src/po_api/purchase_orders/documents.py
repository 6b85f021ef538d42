"""The texts of a purchase order's PDF; `typesetting` lays them out.

Numbers and dates are formatted here, without rounding.
"""

import json
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from po_api.core.currencies import minor_units
from po_api.core.money import Totals
from po_api.purchase_orders.typesetter import typeset

_MONTHS = "January February March April May June July August September October November December".split()

# Names of UN/ECE Recommendation 20 units and Recommendation 21 packages: singular and plural.
_UNITS = {
    **dict.fromkeys(("C62", "H87", "EA"), ("pc", "pcs")),
    "PR": ("pair", "pairs"),
    "NPR": ("pair", "pairs"),
    "SET": ("set", "sets"),
    "DZN": ("dozen", "dozen"),
    "NMP": ("pack", "packs"),
    "XPK": ("pack", "packs"),
    "XBX": ("box", "boxes"),
    "XCT": ("carton", "cartons"),
    "XBG": ("bag", "bags"),
    "XPX": ("pallet", "pallets"),
    "LS": ("lump sum", "lump sum"),
    "E48": ("service", "services"),
    "SEC": ("s", "s"),
    "MIN": ("min", "min"),
    "HUR": ("h", "h"),
    "DAY": ("day", "days"),
    "E49": ("working day", "working days"),
    "WEE": ("week", "weeks"),
    "MON": ("month", "months"),
    "ANN": ("year", "years"),
    "MGM": ("mg", "mg"),
    "GRM": ("g", "g"),
    "KGM": ("kg", "kg"),
    "TNE": ("t", "t"),
    "LBR": ("lb", "lb"),
    "ONZ": ("oz", "oz"),
    "MMT": ("mm", "mm"),
    "CMT": ("cm", "cm"),
    "MTR": ("m", "m"),
    "KMT": ("km", "km"),
    "INH": ("in", "in"),
    "FOT": ("ft", "ft"),
    "YRD": ("yd", "yd"),
    "MTK": ("m²", "m²"),
    "FTK": ("ft²", "ft²"),
    "MLT": ("ml", "ml"),
    "LTR": ("l", "l"),
    "MTQ": ("m³", "m³"),
    "KWH": ("kWh", "kWh"),
}

# Columns that are as wide as their longest text; the description takes the remaining width.
_NARROW = ("position", "quantity", "unit", "unit_price", "discount", "tax_rate", "net")

# Han characters have national variants; the currency is the best hint at the expected one.
_HAN_SHAPES = {"JPY": "JP", "KRW": "KR", "TWD": "TC", "HKD": "HK"}


@dataclass(frozen=True)
class Party:
    """The buyer or the supplier at the time of issue; an address may have several lines."""

    name: str
    address: str | None = None
    tax_id: str | None = None
    email: str | None = None


@dataclass(frozen=True)
class DocumentLine:
    """A line of the order; `unit` is a UN/ECE Rec 20 code, percentages are 0–100, `net` is in the order's currency."""

    position: int
    description: str
    sku: str | None
    quantity: Decimal
    unit: str
    unit_price: Decimal
    discount_percent: Decimal
    tax_rate: Decimal
    net: Decimal
    needed_by: date | None
    cost_centre: str | None = None


@dataclass(frozen=True)
class PurchaseOrderDocument:
    """The data of a purchase order's PDF; `requests` are the numbers of the PORFs that it was created from.

    `delivery_date` is the earliest date by which a line is needed, `cost_centres` are those of the lines.
    """

    number: str
    revision: int
    issued_on: date
    currency: str
    buyer: Party
    supplier: Party
    lines: tuple[DocumentLine, ...]
    totals: Totals
    terms: str | None
    delivery_address: str | None
    requests: tuple[str, ...]
    prepared_by: str | None
    delivery_date: date | None = None
    cost_centres: tuple[str, ...] = ()


async def rendered(document: PurchaseOrderDocument) -> bytes:
    """The order as a PDF/A; the same data always gives the same bytes.

    Raises TypesettingError.
    """
    return await typeset(sheet(document), lines=len(document.lines))


def sheet(document: PurchaseOrderDocument) -> bytes:
    """The printed texts as JSON, in the form that the template reads."""
    return json.dumps(_data(document), ensure_ascii=False).encode()


def _data(document: PurchaseOrderDocument) -> dict[str, object]:
    """The printed texts; None for parts that are left out."""
    digits = minor_units(document.currency)
    totals = document.totals
    shows_cost_centres = len({line.cost_centre for line in document.lines}) > 1
    lines = [_line(line, digits, shows_cost_centre=shows_cost_centres) for line in document.lines]
    return {
        "issued_on": document.issued_on.isoformat(),
        "number": document.number,
        "revision": str(document.revision),
        "currency": document.currency,
        "cjk": _HAN_SHAPES.get(document.currency, "SC"),
        "buyer": _party(document.buyer),
        "supplier": _party(document.supplier),
        "facts": _facts(document),
        "lines": lines,
        "widest": {column: max((line[column] or "" for line in lines), key=len, default="") for column in _NARROW},
        "totals": {
            "net": _decimal(totals.net, digits),
            "taxes": [
                {"rate": _percent(tax.rate), "net": _decimal(tax.net, digits), "tax": _decimal(tax.tax, digits)}
                for tax in totals.taxes
            ],
            "total": _decimal(totals.total, digits),
        },
        "terms": _paragraphs(document.terms or ""),
        "delivery_address": _text(document.delivery_address),
        "prepared_by": _text(document.prepared_by),
    }


def _party(party: Party) -> dict[str, object]:
    tax_id = f"Tax ID {party.tax_id}" if party.tax_id else None
    details = (_text(party.address), tax_id, party.email)
    return {"name": party.name, "details": [detail for detail in details if detail]}


def _facts(document: PurchaseOrderDocument) -> list[tuple[str, str]]:
    facts = [
        ("Date", _date(document.issued_on)),
        ("Revision", str(document.revision)),
        ("Currency", document.currency),
    ]
    if document.delivery_date:
        facts.append(("Delivery date", _date(document.delivery_date)))
    for label, values in (("Request", document.requests), ("Cost centre", document.cost_centres)):
        if values:
            facts.append((label if len(values) == 1 else f"{label}s", ", ".join(values)))
    if document.prepared_by:
        facts.append(("Prepared by", document.prepared_by))
    return facts


def _line(line: DocumentLine, digits: int, *, shows_cost_centre: bool) -> dict[str, str | None]:
    """A line's cells; a unit price may have more decimals than the currency, a quantity has as many as it needs.

    The cost centre is shown where the lines of the order differ in it.
    """
    details = (
        f"SKU {line.sku}" if line.sku else None,
        f"Needed by {_date(line.needed_by)}" if line.needed_by else None,
        f"Cost centre {line.cost_centre}" if line.cost_centre and shows_cost_centre else None,
    )
    return {
        "position": str(line.position),
        "description": _text(line.description) or "",
        "details": " · ".join(detail for detail in details if detail),
        "quantity": _decimal(line.quantity),
        "unit": _unit(line.unit, line.quantity),
        "unit_price": _decimal(line.unit_price, digits),
        "discount": _percent(line.discount_percent) if line.discount_percent else None,
        "tax_rate": _percent(line.tax_rate),
        "net": _decimal(line.net, digits),
    }


def _decimal(value: Decimal, digits: int = 0) -> str:
    """`value` with thousands separators and at least `digits` decimals, not rounded."""
    whole, _, fraction = f"{value:,f}".partition(".")
    fraction = fraction.rstrip("0").ljust(digits, "0")
    return f"{whole}.{fraction}" if fraction else whole


def _percent(value: Decimal) -> str:
    return f"{_decimal(value)}%"


def _date(day: date) -> str:
    # Not strftime: its month names depend on the locale.
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _unit(code: str, quantity: Decimal) -> str:
    one, several = _UNITS.get(code, (code, code))
    return one if quantity == 1 else several


def _text(value: str | None) -> str | None:
    """`value` with one kind of line break and no tabs, which fonts have no glyph for; None if it is empty."""
    return "\n".join((value or "").expandtabs(4).splitlines()).strip() or None


def _paragraphs(value: str) -> list[str]:
    """The parts of `value` between empty lines."""
    return [text for part in re.split(r"\n\s*\n", _text(value) or "") if (text := part.strip())]
