"""Organisations and suppliers as legal parties: every field is optional, checked, patched, recorded and exported."""

import csv
from io import StringIO
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.parties import PARTY_FIELDS
from support.organisations import Member, TestOrganisation, created, new_member, ok, refused

PARTY: dict[str, Any] = {
    "legal_name": "Müller & Söhne GmbH & Co. KG",
    "vat_id": "DE136695976",
    "company_scheme": "0002",
    "company_id": "HRB 4711",
    "street": "Hafenstraße 12",
    "street2": "Building C",
    "city": "Hamburg",
    "postal_code": "20457",
    "region": "HH",
    "country": "DE",
    "contact_name": "Mia Müller",
    "contact_email": "mia@mueller.example",
    "contact_phone": "+49 40 123456",
    "endpoint_scheme": "0088",
    "endpoint_id": "5790000436101",
    "language": "de",
    "payment_days": 30,
    "payment_terms": "30 days net, 2 % within 10 days",
}
OF_SUPPLIER = PARTY | {"currency": "EUR"}
OF_ORGANISATION = PARTY | {
    "buyer_reference": "COST-4711",
    "default_terms": "Our terms of 2026 apply.",
    "incoterms": "DAP",
    "incoterms_place": "Hamburg",
    "accent_colour": "#004a99",
    "paper": "letter",
    "footer_lines": ["Company · company.example", "Register of Hamburg"],
}
# What fields have that are not null without a value.
DEFAULTS = {"paper": "a4", "footer_lines": []}

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"vat_id": "DE136695977"}, "/vat_id", "invalid_vat_id"),
    ({"country": "XX"}, "/country", "unknown_country"),
    ({"country": "de"}, "/country", "string_pattern_mismatch"),
    ({"endpoint_scheme": "0001", "endpoint_id": "1"}, "/endpoint_scheme", "unknown_endpoint_scheme"),
    ({"endpoint_scheme": "0088", "endpoint_id": "5790000436102"}, "/endpoint_id", "invalid_gln"),
    ({"endpoint_scheme": "0088"}, "/endpoint_id", "incomplete_identifier"),
    ({"endpoint_id": "1"}, "/endpoint_scheme", "incomplete_identifier"),
    ({"company_scheme": "0002"}, "/company_id", "incomplete_identifier"),
    ({"contact_email": "mia"}, "/contact_email", "invalid_email"),
    ({"language": "it"}, "/language", "enum"),
    ({"payment_days": 366}, "/payment_days", "less_than_equal"),
    ({"payment_days": "30"}, "/payment_days", "int_type"),
    ({"street": "a\nb"}, "/street", "control_character"),
    ({"postal_code": "1" * 21}, "/postal_code", "string_too_long"),
]


async def _shown(who: Member, path: str) -> httpx.Response:
    return await ok(who.get(path))


@pytest.fixture(params=["supplier", "organisation"])
def party(request: pytest.FixtureRequest, organisation: TestOrganisation) -> tuple[Member, str, dict[str, Any]]:
    """Who may change it, its path and all of its fields."""
    if request.param == "supplier":
        return organisation.buyer, f"/suppliers/{organisation.supplier_id}", OF_SUPPLIER
    return organisation.admin, "/organisations/current", OF_ORGANISATION


def test_the_fields_are_those_of_a_party() -> None:
    assert set(PARTY) == {*PARTY_FIELDS, "payment_days", "payment_terms"}


async def test_every_field_is_patched_shown_recorded_and_emptied(
    party: tuple[Member, str, dict[str, Any]],
) -> None:
    who, path, fields = party
    before = await _shown(who, path)
    assert {name: before.json()[name] for name in fields} == {name: DEFAULTS.get(name) for name in fields}
    changed = await ok(who.patch(path, etag=before.headers["ETag"], json=fields))
    assert {name: changed.json()[name] for name in fields} == fields
    assert changed.json()["version"] == before.json()["version"] + 1
    assert (await _shown(who, path)).json() == changed.json()
    event = (await ok(who.get(f"{path}/history"))).json()["items"][-1]
    assert event["after"] == fields
    # One field alone, and nothing.
    changed = await ok(who.patch(path, etag=changed.headers["ETag"], json={"city": "Kiel"}))
    assert (changed.json()["city"], changed.json()["street"]) == ("Kiel", "Hafenstraße 12")
    same = await ok(who.patch(path, etag=changed.headers["ETag"], json={"city": "Kiel"}))
    assert same.json()["version"] == changed.json()["version"]
    empty = {name: DEFAULTS.get(name) for name in fields}
    emptied = await ok(who.patch(path, etag=same.headers["ETag"], json=empty))
    assert {name: emptied.json()[name] for name in fields} == empty


@pytest.mark.parametrize(("fields", "pointer", "code"), WRONG, ids=str)
async def test_a_wrong_value_is_refused_with_its_pointer(
    party: tuple[Member, str, dict[str, Any]], fields: dict[str, Any], pointer: str, code: str
) -> None:
    who, path, _ = party
    etag = (await _shown(who, path)).headers["ETag"]
    own = code if code in {"invalid_gln", "incomplete_identifier"} else "validation_failed"
    problem = await refused(who.patch(path, etag=etag, json=fields), 422, own)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert (await _shown(who, path)).headers["ETag"] == etag


async def test_an_identifier_is_checked_together_with_its_stored_scheme(
    party: tuple[Member, str, dict[str, Any]],
) -> None:
    who, path, _ = party
    gln = {"endpoint_scheme": "0088", "endpoint_id": "5790000436101"}
    changed = await ok(who.patch(path, etag="*", json=gln))
    wrong = who.patch(path, etag=changed.headers["ETag"], json={"endpoint_id": "5790000436102"})
    await refused(wrong, 422, "invalid_gln")
    await refused(who.patch(path, etag="*", json={"endpoint_scheme": None}), 422, "incomplete_identifier")
    other = await ok(who.patch(path, etag="*", json={"endpoint_scheme": "0192", "endpoint_id": "995525828"}))
    assert other.json()["endpoint_scheme"] == "0192"
    await ok(who.patch(path, etag="*", json={"endpoint_scheme": None, "endpoint_id": None}))


async def test_a_supplier_is_created_with_all_fields_and_exported(organisation: TestOrganisation) -> None:
    buyer = organisation.buyer
    made = (await created(buyer.post("/suppliers", json={"name": "New Ltd", **OF_SUPPLIER}))).json()
    assert {name: made[name] for name in OF_SUPPLIER} == OF_SUPPLIER
    problem = await refused(
        buyer.post("/suppliers", json={"name": "Other", "endpoint_id": "1"}), 422, "incomplete_identifier"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/endpoint_scheme"]
    listed = (await ok(buyer.get("/suppliers", params={"currency": ["EUR", "USD"]}))).json()["items"]
    assert [item["id"] for item in listed] == [made["id"]]
    file = (await ok(buyer.get("/suppliers/export", params={"sort": "-created_at"}))).content.decode("utf-8-sig")
    row = next(csv.DictReader(StringIO(file)))
    # A file of a spreadsheet program: a text that begins like a formula is marked as text.
    assert {name: row[name].removeprefix("'") for name in OF_SUPPLIER} == {
        name: str(value) for name, value in OF_SUPPLIER.items()
    }


async def test_an_organisation_is_founded_with_all_fields(app: FastAPI, client: httpx.AsyncClient) -> None:
    founder = await new_member(app, client, None, [])
    fields = {"name": "Founded", **OF_ORGANISATION}
    made = (await created(founder.post("/organisations", json=fields))).json()
    assert {name: made[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"incoterms": "DDU"}, "/incoterms"),
        ({"accent_colour": "#FFF"}, "/accent_colour"),
        ({"accent_colour": "red"}, "/accent_colour"),
        ({"paper": "a5"}, "/paper"),
        ({"paper": None}, "/paper"),
        ({"footer_lines": ["x"] * 5}, "/footer_lines"),
        ({"footer_lines": ["a\nb"]}, "/footer_lines/0"),
    ],
    ids=str,
)
async def test_wrong_settings_are_refused(organisation: TestOrganisation, fields: dict[str, Any], pointer: str) -> None:
    changing = organisation.admin.patch("/organisations/current", etag="*", json=fields)
    problem = await refused(changing, 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
