"""The content hash: it covers all of the content, and does not change for existing approvals."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from po_api.core.records import field_names
from po_api.porfs.content import (
    HASH_VERSION,
    HASHED_FIELDS,
    ApprovedLine,
    LineContent,
    PorfContent,
    PorfHeader,
    content_hash,
    is_approved_content,
)
from po_api.porfs.exports import COLUMNS as EXPORTED
from po_api.porfs.import_columns import COLUMNS as IMPORTED
from po_api.porfs.models import Porf, PorfLine
from po_api.purchase_orders.models import PurchaseOrderLine


def _header(**values: Any) -> PorfContent:
    """A header with these fields, and without all others."""
    fields: dict[str, Any] = dict.fromkeys(field_names(PorfContent)) | values
    return PorfContent(**fields)


def _line(**values: Any) -> ApprovedLine:
    """A line with these fields, and without all others."""
    fields: dict[str, Any] = dict.fromkeys(field_names(ApprovedLine)) | values
    return ApprovedLine(**fields)


HEADER = _header(title="Lamps", currency="EUR", tax_rounding="document")
LINE = _line(
    position=1,
    description="Desk lamp",
    quantity=Decimal(10),
    unit="C62",
    unit_price=Decimal("24.90"),
    discount_percent=Decimal(0),
    tax_rate=Decimal(20),
    over_order_percent=Decimal(0),
)


def test_the_hashes_of_a_request_are_those_that_were_stored() -> None:
    """Computed by the releases that introduced the versions: other digests would invalidate the approvals."""
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
        category_id=7,
        cost_centre_id=8,
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
    header = replace(header, delivery_address="Tor 7\nHamburg")
    lines = [replace(lamp, over_order_percent=Decimal("12.5000")), bulb]
    assert [content_hash(header, lines, version=version) for version in HASHED_FIELDS] == [
        "21f0dfb219eeaef4011e360c70768d52cbdc02a1082279bcee204efef96980fc",
        "105da00181b744ee0463ee06bf76469cf85c93143e992f513803a8ef4b04db9f",
        "70cc60ea114cc78af487e4622f761cb9ee7fc93f47c7d4a488fd76637db4e005",
        "22c6c0003c7f9269aa431c742cf3fa8b1e7516a64a9fd74b2b8c8b8b1b7dc53d",
    ]


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
        {"delivery_address_id": 1},
        {"delivery_address": "Gate 7"},
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
        {"over_order_percent": Decimal("0.0001")},
        {"category_id": 1},
        {"cost_centre_id": 1},
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


def test_the_last_version_covers_all_of_the_content_and_each_version_what_the_one_before_did() -> None:
    """A field that is added needs a version of its own: the fields of the others stay as they are."""
    last = HASHED_FIELDS[HASH_VERSION]
    # The text stands for the cost centre: a code never changes.
    assert set(last.header) == {*field_names(PorfContent)} - {"cost_centre_id"}
    assert set(last.line) == {*field_names(ApprovedLine)}
    assert list(HASHED_FIELDS) == list(range(1, HASH_VERSION + 1))
    for version in range(2, HASH_VERSION + 1):
        before, fields = HASHED_FIELDS[version - 1], HASHED_FIELDS[version]
        assert fields.header[: len(before.header)] == before.header
        assert fields.line[: len(before.line)] == before.line


def test_content_is_compared_with_the_fields_of_the_hash_that_was_approved() -> None:
    tolerant = replace(LINE, over_order_percent=Decimal(10))
    first, second = (content_hash(HEADER, [LINE], version=version) for version in (1, 2))
    assert first != second
    for line, is_same in ((LINE, True), (tolerant, False)):
        assert is_approved_content(HEADER, [line], approved_hash=first, version=1)
        assert is_approved_content(HEADER, [line], approved_hash=second, version=2) == is_same
    assert not is_approved_content(HEADER, [LINE], approved_hash=second, version=1)
    assert not is_approved_content(HEADER, [LINE], approved_hash=None, version=None)
    # By a later release.
    assert not is_approved_content(HEADER, [LINE], approved_hash=second, version=HASH_VERSION + 1)


def test_the_fields_are_columns_of_all_tables_and_files_that_hold_them() -> None:
    assert {*field_names(PorfHeader)} <= set(Porf.__table__.columns.keys())
    for line in (PorfLine, PurchaseOrderLine):
        assert {*field_names(LineContent)} <= set(line.__table__.columns.keys())
    assert {column.of_line for column in IMPORTED} == {*field_names(LineContent)}
    assert set(EXPORTED) == {column.name for column in IMPORTED} | {"position", "net"}
