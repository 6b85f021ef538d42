"""The content hash: it covers all of the content, and does not change for existing approvals."""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from po_api.core.records import field_names
from po_api.porfs.content import LineContent, PorfContent, PorfHeader, PositionedLine, content_hash, hashed_values
from po_api.porfs.exports import COLUMNS as EXPORTED
from po_api.porfs.import_columns import COLUMNS as IMPORTED
from po_api.porfs.models import Porf, PorfLine
from po_api.purchase_orders.models import PurchaseOrderLine


def _header(**values: Any) -> PorfContent:
    """A header with these fields, and without all others."""
    fields: dict[str, Any] = dict.fromkeys(field_names(PorfContent)) | values
    return PorfContent(**fields)


def _line(**values: Any) -> PositionedLine:
    """A line with these fields, and without all others."""
    fields: dict[str, Any] = dict.fromkeys(field_names(PositionedLine)) | values
    return PositionedLine(**fields)


HEADER = _header(title="Lamps", currency="EUR", tax_rounding="document")
LINE = _line(
    position=1,
    description="Desk lamp",
    quantity=Decimal(10),
    unit="C62",
    unit_price=Decimal("24.90"),
    discount_percent=Decimal(0),
    tax_rate=Decimal(20),
)


def test_the_hash_of_a_request_is_that_of_the_first_version() -> None:
    """Computed by the release that introduced approvals: another digest would invalidate every approval."""
    header = _header(
        title="Lampen für das Büro",
        justification="Neues Büro\nab Dezember",
        cost_centre="4711",
        needed_by=date(2026, 12, 1),
        currency="EUR",
        tax_rounding="line",
        supplier_id=42,
    )
    lamp = _line(
        position=1,
        description="Desk lamp",
        sku="LAMP-7",
        quantity=Decimal("10.0000"),
        unit="C62",
        unit_price=Decimal("24.9000"),
        discount_percent=Decimal("2.5000"),
        tax_rate=Decimal("20.0000"),
        needed_by=date(2026, 12, 24),
    )
    bulb = _line(
        position=3,
        description='灯 "large"',
        quantity=Decimal("0.5"),
        unit="KGM",
        unit_price=Decimal(0),
        discount_percent=Decimal(0),
        tax_rate=Decimal(7),
    )
    assert content_hash(header, [lamp, bulb]) == "21f0dfb219eeaef4011e360c70768d52cbdc02a1082279bcee204efef96980fc"


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Lamp"},
        {"justification": ""},
        {"cost_centre": "1"},
        {"needed_by": date(2030, 1, 1)},
        {"currency": "USD"},
        {"tax_rounding": "line"},
        {"supplier_id": 1},
    ],
)
def test_the_hash_covers_every_field_of_the_header(change: dict[str, Any]) -> None:
    assert content_hash(replace(HEADER, **change), [LINE]) != content_hash(HEADER, [LINE])


@pytest.mark.parametrize(
    "change",
    [
        {"position": 2},
        {"description": "Desk lamp "},
        {"sku": ""},
        {"quantity": Decimal("10.0001")},
        {"unit": "KGM"},
        {"unit_price": Decimal("24.91")},
        {"discount_percent": Decimal("0.0001")},
        {"tax_rate": Decimal(19)},
        {"needed_by": date(2030, 1, 1)},
    ],
)
def test_the_hash_covers_every_field_of_a_line(change: dict[str, Any]) -> None:
    assert content_hash(HEADER, [replace(LINE, **change)]) != content_hash(HEADER, [LINE])


def test_the_hash_covers_number_and_order_of_lines() -> None:
    one, two = replace(LINE, sku="1"), replace(LINE, sku="2")
    assert len({content_hash(HEADER, lines) for lines in ([], [one], [one, two], [two, one], [one, one])}) == 5


def test_the_hash_does_not_depend_on_how_a_number_is_written() -> None:
    same = replace(
        LINE,
        quantity=Decimal("10.0000"),
        unit_price=Decimal("24.9"),
        discount_percent=Decimal("0.0000"),
        tax_rate=Decimal("2E+1"),
    )
    assert content_hash(HEADER, [same]) == content_hash(HEADER, [LINE])


def test_a_field_that_is_added_is_hashed_where_it_is_set_and_changes_no_other_hash() -> None:
    @dataclass(frozen=True)
    class Later:
        title: str
        project: str | None

    values = [hashed_values(Later("Lamps", project), ["title"], ["project"]) for project in (None, "A", "B")]
    assert values == [["Lamps"], ["Lamps", {"project": "A"}], ["Lamps", {"project": "B"}]]


def test_the_fields_are_columns_of_all_tables_and_files_that_hold_them() -> None:
    assert {*field_names(PorfHeader)} <= set(Porf.__table__.columns.keys())
    for line in (PorfLine, PurchaseOrderLine):
        assert {*field_names(LineContent)} <= set(line.__table__.columns.keys())
    assert {column.name for column in IMPORTED} == {*field_names(LineContent)}
    assert set(EXPORTED) == {*field_names(LineContent)} | {"position", "net"}
