"""Identifiers of legal parties: VAT ids, GLNs, countries."""

import re

import pytest
from babel import Locale

from po_api.core.parties import COUNTRIES, address_lines, is_gln, vat_id_of

# Codes of CLDR that ISO 3166-1 does not assign.
_NOT_ISO = set("AC CP CQ DG EA EU EZ IC QO TA UN XA XB XK ZZ".split())


@pytest.mark.parametrize(
    ("text", "vat_id"),
    [
        ("DE136695976", "DE136695976"),
        ("de 136 695 976", "DE136695976"),
        ("AT U13585627", "ATU13585627"),
        ("FR 40 303 265 045", "FR40303265045"),
        ("EL094259216", "EL094259216"),
        ("XI980780684", "XI980780684"),
        ("GB 980 7806 84", "GB980780684"),
        ("CHE-107.787.577", "CHE107787577"),
        ("CHE-107.787.577 MWST", "CHE107787577MWST"),
        ("NO 995 525 828 MVA", "NO995525828MVA"),
        # Countries without a check here.
        ("US 12-3456789", "US123456789"),
    ],
)
def test_a_vat_id_has_one_spelling(text: str, vat_id: str) -> None:
    assert vat_id_of(text) == vat_id


@pytest.mark.parametrize(
    "text",
    ["", "DE", "DE136695977", "136695976", "GR094259216", "ZZ123456", "GB980780685", "DE13669597é", "D3136695976"],
)
def test_another_text_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a VAT id"):
        vat_id_of(text)


def test_a_gln_has_thirteen_digits_and_its_check_digit() -> None:
    assert is_gln("5790000436101")
    assert not any(map(is_gln, ("5790000436102", "579000043610", "57900004361011", "٥٧٩٠٠٠٠٤٣٦١٠١", "")))


def test_countries_are_those_of_iso_3166() -> None:
    known = {code for code in map(str, Locale("en").territories) if re.fullmatch("[A-Z]{2}", code)}
    assert known - _NOT_ISO == COUNTRIES


def test_an_address_is_printed_without_its_missing_parts() -> None:
    address = dict.fromkeys(("street", "street2", "city", "postal_code", "region", "country"))
    assert address_lines(address) == []
    full = address | {"street": "Hafenstraße 12", "city": "Hamburg", "postal_code": "20457", "country": "DE"}
    assert address_lines(full) == ["Hafenstraße 12", "20457 Hamburg", "DE"]
