"""Lines of a draft: accepted and refused fields, positions, versions, and consistent totals."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from po_api.core.money import PricedLine, TaxRounding, totals
from support.organisations import LINE, TestOrganisation, act, created, new_organisation, ok, refused

BAD_NUMBERS: list[Any] = [
    *("", " ", "1e2", "1E2", "-1", "+1", "NaN", "Infinity", "-Infinity", "1.00000", "0.12345", "1.", ".5", "1,5"),
    *("1 000", "0x10", "١٢", "1_000", "1\n", "100000000000000", "9" * 400),
    *(1, 1.5, True, None, [], {}),
]
# Raw JSON that no Python value is dumped to.
BAD_LITERALS = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e2", "1.0"]

BAD_FIELDS: list[tuple[str, Any]] = [
    ("quantity", "0"),
    ("quantity", "0.0000"),
    ("discount_percent", "100.0001"),
    ("tax_rate", "101"),
    ("unit", "XX"),
    ("unit", "c62"),
    ("unit", ""),
    ("unit", "C62 "),
    ("unit", None),
    ("description", ""),
    ("description", " \n "),
    ("description", "x" * 2001),
    ("description", "a\x00b"),
    ("description", "a\x1bb"),
    ("description", 5),
    ("description", None),
    ("sku", ""),
    ("sku", "x" * 101),
    ("sku", "a\tb"),
    ("sku", "a\nb"),
    ("needed_by", "2026-02-30"),
    ("needed_by", "31.12.2026"),
    ("needed_by", "2026-12-31T00:00:00Z"),
    ("needed_by", "1798675200"),
    ("needed_by", 0),
    ("needed_by", ""),
    ("net", "1.00001"),
    ("net", 249),
    ("description", "a\ud800b"),
    ("sku", "\udfff"),
]


def pointers(problem: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


async def line_of(organisation: TestOrganisation, porf: httpx.Response, number: int = 0) -> str:
    return f"/porfs/{porf.json()['id']}/lines/{porf.json()['lines'][number]['id']}"


async def current(organisation: TestOrganisation, porf: httpx.Response) -> httpx.Response:
    return await ok(organisation.requester.get(f"/porfs/{porf.json()['id']}"))


def recomputed(porf: httpx.Response) -> tuple[str, str, str]:
    """Net, tax and total, computed from the lines of the representation."""
    shown = porf.json()
    names = ("quantity", "unit_price", "discount_percent", "tax_rate")
    lines = [PricedLine(*(Decimal(line[name]) for name in names)) for line in shown["lines"]]
    found = totals(lines, currency=shown["currency"], tax_rounding=TaxRounding(shown["tax_rounding"]))
    return f"{found.net:f}", f"{found.tax:f}", f"{found.total:f}"


def assert_adds_up(porf: httpx.Response) -> None:
    shown = porf.json()
    assert (shown["net"], shown["tax"], shown["total"]) == recomputed(porf)
    assert sum(Decimal(line["net"]) for line in shown["lines"]) == Decimal(shown["net"])
    assert sum(Decimal(tax["tax"]) for tax in shown["taxes"]) == Decimal(shown["tax"])


# What is refused.


async def assert_each_is_refused(organisation: TestOrganisation, bad: Sequence[tuple[str, str]]) -> None:
    """Send lines with one wrong field each, as (field, raw JSON); the problem must point to each."""
    good = {name: json.dumps(value) for name, value in LINE.items()}
    lines = [good | {field: value} for field, value in bad]
    texts = ["{" + ",".join(f'"{name}":{value}' for name, value in line.items()) + "}" for line in lines]
    body = f'{{"title": "x", "lines": [{",".join(texts)}]}}'
    headers = {"Content-Type": "application/json"}
    problem = await refused(
        organisation.requester.post("/porfs", content=body, headers=headers), 422, "validation_failed"
    )
    assert pointers(problem) == [f"/lines/{index}/{field}" for index, (field, _) in enumerate(bad)]
    assert "9999" not in str(problem["errors"])  # the inputs' values are not repeated


@pytest.mark.parametrize("field", ["quantity", "unit_price", "discount_percent", "tax_rate"])
async def test_numbers_are_plain_decimals_in_strings(organisation: TestOrganisation, field: str) -> None:
    await assert_each_is_refused(organisation, [(field, json.dumps(value)) for value in BAD_NUMBERS])
    await assert_each_is_refused(organisation, [(field, literal) for literal in BAD_LITERALS])


async def test_every_wrong_field_of_a_line_is_pointed_at(organisation: TestOrganisation) -> None:
    await assert_each_is_refused(organisation, [(field, json.dumps(value)) for field, value in BAD_FIELDS])


@pytest.mark.parametrize("field", ["description", "quantity", "unit_price"])
async def test_what_a_line_cannot_do_without(organisation: TestOrganisation, field: str) -> None:
    line = {name: value for name, value in LINE.items() if name != field}
    problem = await refused(
        organisation.requester.post("/porfs", json={"title": "x", "lines": [line]}), 422, "validation_failed"
    )
    assert pointers(problem) == [f"/lines/0/{field}"]


@pytest.mark.parametrize(
    "field", ["position", "id", "porf_id", "closed_quantity", "ordered_quantity", "organisation_id"]
)
async def test_what_the_server_decides_about_a_line_cannot_be_sent(organisation: TestOrganisation, field: str) -> None:
    porf = await organisation.draft()
    line = await line_of(organisation, porf)
    tried = [
        organisation.requester.post("/porfs", json={"title": "x", "lines": [LINE | {field: "1"}]}),
        organisation.requester.patch(line, etag=porf.headers["ETag"], json={field: "1"}),
    ]
    for attempt in tried:
        problem = await refused(attempt, 422, "validation_failed")
        assert [error["code"] for error in problem["errors"]] == ["unknown_field"]
        assert field not in re.findall(r"\w+", problem["errors"][0]["detail"])


@pytest.mark.parametrize("change", [{"quantity": "99999999999999.9999"}, {"unit_price": "99999999999999"}])
async def test_amounts_beyond_the_column_are_refused(organisation: TestOrganisation, change: dict[str, str]) -> None:
    large = LINE | {"quantity": "99999999999999", "unit_price": "99999999999999"}
    await refused(organisation.requester.post("/porfs", json={"title": "x", "lines": [large]}), 422, "amount_too_large")
    porf = await organisation.draft(lines=[LINE | {"quantity": "100", "unit_price": "100"}])
    path = f"/porfs/{porf.json()['id']}"
    etag = porf.headers["ETag"]
    await refused(organisation.requester.post(f"{path}/lines", etag=etag, json=large), 422, "amount_too_large")
    line = await line_of(organisation, porf)
    await refused(organisation.requester.patch(line, etag=etag, json=change), 422, "amount_too_large")
    assert (await current(organisation, porf)).headers["ETag"] == etag


async def test_lines_that_are_too_much_only_together_are_refused(organisation: TestOrganisation) -> None:
    half = LINE | {"quantity": "1", "unit_price": "60000000000000", "tax_rate": "0"}
    lines = [half | {"quantity": "8"}] * 2
    porf = await organisation.draft(lines=lines[:1])
    assert porf.json()["total"] == "480000000000000.00"
    added = await ok(
        organisation.requester.post(f"/porfs/{porf.json()['id']}/lines", etag=porf.headers["ETag"], json=lines[1]), 201
    )
    assert_adds_up(await current(organisation, porf))
    path = f"/porfs/{porf.json()['id']}/lines"
    await refused(organisation.requester.post(path, etag=added.headers["ETag"], json=lines[0]), 422, "amount_too_large")


@pytest.mark.parametrize(
    ("total", "net", "pointer"),
    [("298.81", None, "/total"), ("298.8001", None, "/total"), (None, "249.01", "/lines/0/net"), ("0", None, "/total")],
)
async def test_a_client_with_another_amount_gets_the_computed_one(
    organisation: TestOrganisation, total: str | None, net: str | None, pointer: str
) -> None:
    line: dict[str, Any] = LINE | {"net": net}
    body = {"title": "x", "total": total, "lines": [line]}
    problem = await refused(organisation.requester.post("/porfs", json=body), 422, "total_mismatch")
    assert pointers(problem) == [pointer]


async def test_a_client_that_computes_the_same_is_content(organisation: TestOrganisation) -> None:
    body = {"title": "x", "total": "298.8", "lines": [LINE | {"net": "249.00"}]}
    porf = await created(organisation.requester.post("/porfs", json=body))
    assert (porf.json()["total"], porf.json()["lines"][0]["net"]) == ("298.80", "249.00")
    path, etag = f"/porfs/{porf.json()['id']}/lines", porf.headers["ETag"]
    wrong = await refused(organisation.requester.post(path, etag=etag, json=LINE | {"net": "1"}), 422, "total_mismatch")
    assert pointers(wrong) == ["/net"]


async def test_a_price_of_nothing_and_a_full_discount_are_fine(organisation: TestOrganisation) -> None:
    porf = await organisation.draft(lines=[LINE | {"unit_price": "0"}, LINE | {"discount_percent": "100"}])
    assert [line["net"] for line in porf.json()["lines"]] == ["0.00", "0.00"]
    assert (await act(organisation.requester, porf, "submit")).json()["total"] == "0.00"


async def test_the_extremes_of_each_column_come_back_as_they_are(organisation: TestOrganisation) -> None:
    lines = [
        LINE | {"quantity": "99999999999999.9999", "unit_price": "0.0001", "tax_rate": "0"},
        LINE | {"quantity": "0.0001", "unit_price": "99999999999999.9999", "tax_rate": "100"},
        LINE | {"discount_percent": "99.9999", "tax_rate": "0.0001"},
    ]
    porf = await organisation.draft(lines=lines)
    for shown, sent in zip(porf.json()["lines"], lines, strict=True):
        assert {name: shown[name] for name in sent} == sent | {"unit_price": shown["unit_price"]}
        assert Decimal(shown["unit_price"]) == Decimal(sent["unit_price"])
    assert_adds_up(porf)


@pytest.mark.heavy
async def test_ten_thousand_lines_are_taken_and_not_one_more(organisation: TestOrganisation) -> None:
    line = {"description": "x", "quantity": "1", "unit_price": "0.01"}
    body: dict[str, Any] = {"title": "Many", "lines": [line] * 10_001}
    problem = await refused(organisation.requester.post("/porfs", json=body), 422, "validation_failed")
    assert pointers(problem) == ["/lines"]
    porf = await created(organisation.requester.post("/porfs", json=body | {"lines": [line] * 10_000}))
    assert (porf.json()["total"], porf.json()["line_count"]) == ("100.00", 10_000)
    path, etag = f"/porfs/{porf.json()['id']}/lines", porf.headers["ETag"]
    await refused(organisation.requester.post(path, etag=etag, json=line), 422, "too_many_lines")
    await ok(organisation.requester.delete(f"{path}/{porf.json()['lines'][4]['id']}", etag=etag), 204)
    added = await ok(organisation.requester.post(path, etag='"2"', json=line), 201)
    assert added.json()["position"] == 10_001


# The sub-resource.


async def test_a_line_is_added_read_changed_and_taken_out_each_with_a_new_version(
    organisation: TestOrganisation,
) -> None:
    porf = await organisation.draft()
    path = f"/porfs/{porf.json()['id']}/lines"
    added = await created(organisation.requester.post(path, etag=porf.headers["ETag"], json=LINE | {"tax_rate": "5"}))
    assert added.headers["ETag"].startswith('"2-')
    location = f"{path}/{added.json()['id']}"
    assert added.headers["Location"] == f"/api/v1{location}"
    assert (added.json()["position"], added.json()["net"]) == (2, "249.00")
    assert_adds_up(await current(organisation, porf))

    changes = {"quantity": "2.5", "sku": "L-1", "needed_by": "2030-01-31", "unit": "KGM", "description": "Lights"}
    changed = await ok(organisation.requester.patch(location, etag=added.headers["ETag"], json=changes))
    assert changed.headers["ETag"].startswith('"3-')
    assert changed.json() == added.json() | changes | {"net": "62.25", "remaining_quantity": "2.5"}
    read = await ok(organisation.requester.get(location))
    assert (read.json(), read.headers["ETag"]) == (changed.json(), changed.headers["ETag"])
    assert_adds_up(await current(organisation, porf))

    await ok(organisation.requester.delete(location, etag=changed.headers["ETag"]), 204)
    await refused(organisation.requester.get(location), 404, "porf_line_not_found")
    last = await current(organisation, porf)
    assert (last.json()["version"], last.json()["total"]) == (4, "298.80")


async def test_every_change_of_a_line_is_in_the_history(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    path = f"/porfs/{porf.json()['id']}/lines"
    added = await created(organisation.requester.post(path, etag='"1"', json=LINE))
    location = f"{path}/{added.json()['id']}"
    await ok(organisation.requester.patch(location, etag='"2"', json={"quantity": "3", "sku": None}))
    await ok(organisation.requester.delete(location, etag='"3"'), 204)
    events = (await ok(organisation.requester.get(f"/porfs/{porf.json()['id']}/history"))).json()["items"]
    assert [event["action"] for event in events] == [
        "porf.create",
        "porf.add_line",
        "porf.update_line",
        "porf.delete_line",
    ]
    line_id = added.json()["id"]
    assert (events[2]["before"], events[2]["after"]) == (
        {"line_id": line_id, "quantity": "10.0000"},
        {"line_id": line_id, "quantity": "3"},
    )


async def test_a_patch_that_changes_nothing_makes_no_version(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    line = await line_of(organisation, porf)
    for same in ({}, {"quantity": "10.0000"}, {"description": " Desk lamp "}):
        answer = await ok(organisation.requester.patch(line, etag=porf.headers["ETag"], json=same))
        assert answer.headers["ETag"].startswith('"1-')
    assert (await current(organisation, porf)).headers["ETag"] == porf.headers["ETag"]


async def test_null_clears_what_a_line_can_do_without(organisation: TestOrganisation) -> None:
    porf = await organisation.draft(lines=[LINE | {"sku": "L-1", "needed_by": "2030-01-31"}])
    line = await line_of(organisation, porf)
    cleared = await ok(
        organisation.requester.patch(line, etag=porf.headers["ETag"], json={"sku": None, "needed_by": None})
    )
    assert (cleared.json()["sku"], cleared.json()["needed_by"]) == (None, None)
    for field in ("description", "quantity", "unit_price", "unit", "discount_percent", "tax_rate"):
        patch = organisation.requester.patch(line, etag=cleared.headers["ETag"], json={field: None})
        assert pointers(await refused(patch, 422, "validation_failed")) == [f"/{field}"]


@pytest.mark.parametrize("field", ["quantity", "unit_price", "discount_percent", "tax_rate"])
async def test_a_patch_takes_no_worse_numbers(organisation: TestOrganisation, field: str) -> None:
    porf = await organisation.draft()
    line = await line_of(organisation, porf)
    for value in ("1e2", "-1", "NaN", "0.00001", 1.5):
        patch = organisation.requester.patch(line, etag=porf.headers["ETag"], json={field: value})
        problem = await refused(patch, 422, "validation_failed")
        assert pointers(problem) == [f"/{field}"]
        assert value != "-1" or "without a sign" in problem["errors"][0]["detail"]


async def test_lines_keep_their_positions_when_others_go(organisation: TestOrganisation) -> None:
    porf = await organisation.draft(lines=[LINE | {"sku": str(number)} for number in range(1, 6)])
    path = f"/porfs/{porf.json()['id']}/lines"
    await ok(organisation.requester.delete(await line_of(organisation, porf, 1), etag='"1"'), 204)
    await ok(organisation.requester.delete(await line_of(organisation, porf, 3), etag='"2"'), 204)
    await created(organisation.requester.post(path, etag='"3"', json=LINE | {"sku": "6"}))
    shown = [(line["position"], line["sku"]) for line in (await current(organisation, porf)).json()["lines"]]
    assert shown == [(1, "1"), (3, "3"), (5, "5"), (6, "6")]


async def test_lines_are_paged_by_position(organisation: TestOrganisation) -> None:
    porf = await organisation.draft(lines=[LINE | {"sku": str(number)} for number in range(1, 6)])
    path, found, cursor = f"/porfs/{porf.json()['id']}/lines", [], None
    for _ in range(3):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await ok(organisation.requester.get(path, params=params))).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert cursor is None
    # The shares of the base amount are those of the whole request.
    assert [line | {"base_net": None} for line in found] == porf.json()["lines"]
    descending = (await ok(organisation.requester.get(path, params={"sort": "-position"}))).json()["items"]
    assert descending == found[::-1]


async def test_another_request_s_line_is_no_line_of_this_one(organisation: TestOrganisation) -> None:
    one, other = await organisation.draft(), await organisation.draft()
    wrong = f"/porfs/{one.json()['id']}/lines/{other.json()['lines'][0]['id']}"
    await refused(organisation.requester.get(wrong), 404, "porf_line_not_found")
    await refused(organisation.requester.patch(wrong, etag='"1"', json={"quantity": "1"}), 404, "porf_line_not_found")
    await refused(organisation.requester.delete(wrong, etag='"1"'), 404, "porf_line_not_found")


@pytest.mark.parametrize("status", ["pending", "approved", "rejected", "closed"])
async def test_lines_change_in_drafts_only(organisation: TestOrganisation, status: str) -> None:
    porf = await organisation.in_status(status)
    line, etag = await line_of(organisation, porf), porf.headers["ETag"]
    tried = [
        organisation.requester.post(line.rpartition("/")[0], etag=etag, json=LINE),
        organisation.requester.patch(line, etag=etag, json={"quantity": "1"}),
        organisation.requester.delete(line, etag=etag),
    ]
    for attempt in tried:
        assert status in (await refused(attempt, 409, "invalid_transition"))["detail"]


@pytest.mark.parametrize(
    ("etag", "status", "code"),
    [
        (None, 428, "if_match_required"),
        ('"99"', 412, "stale_version"),
        ("1", 400, "invalid_if_match"),
        ('"1', 400, "invalid_if_match"),
        ("", 400, "invalid_if_match"),
        ('W/"2"', 412, "stale_version"),
        ('"other"', 412, "stale_version"),
    ],
)
async def test_a_line_is_changed_on_a_version_that_was_seen(
    organisation: TestOrganisation, etag: str | None, status: int, code: str
) -> None:
    line = await line_of(organisation, await organisation.draft())
    await refused(organisation.requester.post(line.rpartition("/")[0], etag=etag, json=LINE), status, code)
    await refused(organisation.requester.patch(line, etag=etag, json={"quantity": "1"}), status, code)
    await refused(organisation.requester.delete(line, etag=etag), status, code)


# Currencies and totals.


async def test_another_currency_rounds_every_line_anew(organisation: TestOrganisation) -> None:
    lines = [
        {"description": "a", "quantity": "3", "unit_price": "33.3355", "tax_rate": "10"},
        {"description": "b", "quantity": "1", "unit_price": "0.5", "tax_rate": "10"},
    ]
    porf = await organisation.draft(lines=lines)
    shown = {"GBP": ["100.01", "0.50"], "JPY": ["100", "1"], "KWD": ["100.007", "0.500"]}
    for currency in ("JPY", "KWD", "GBP", "KWD", "JPY"):
        path = f"/porfs/{porf.json()['id']}"
        porf = await ok(organisation.requester.patch(path, etag=porf.headers["ETag"], json={"currency": currency}))
        assert [line["net"] for line in porf.json()["lines"]] == shown[currency]
        assert_adds_up(porf)
        assert porf.json() == (await current(organisation, porf)).json()


line_bodies = st.fixed_dictionaries(
    {
        "description": st.just("x"),
        "quantity": st.decimals(min_value="0.0001", max_value=9999, places=4).map("{:f}".format),
        "unit_price": st.decimals(min_value=0, max_value=9999, places=4).map("{:f}".format),
        "discount_percent": st.sampled_from(["0", "2.5", "33.3333", "100"]),
        "tax_rate": st.sampled_from(["0", "5", "5.0000", "7.7", "20"]),
    }
)
examples = settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
async def both_modes(app: FastAPI, client: httpx.AsyncClient) -> Sequence[TestOrganisation]:
    """A tenant for each mode of tax rounding."""
    return [await new_organisation(app, client, tax_rounding=mode) for mode in ("document", "line")]


@pytest.mark.heavy
@given(
    lines=st.lists(line_bodies, min_size=1, max_size=5),
    currency=st.sampled_from(["GBP", "JPY", "KWD"]),
    more=line_bodies,
)
@examples
async def test_totals_add_up_after_whatever_change(
    both_modes: Sequence[TestOrganisation], lines: list[dict[str, str]], currency: str, more: dict[str, str]
) -> None:
    for organisation in both_modes:
        porf = await organisation.draft(lines=lines)
        assert_adds_up(porf)
        path = f"/porfs/{porf.json()['id']}"
        await created(organisation.requester.post(f"{path}/lines", etag="*", json=more))
        changed = {name: more[name] for name in ("quantity", "unit_price", "discount_percent", "tax_rate")}
        await ok(organisation.requester.patch(await line_of(organisation, porf), etag="*", json=changed))
        assert_adds_up(await current(organisation, porf))
        assert_adds_up(await ok(organisation.requester.patch(path, etag="*", json={"currency": currency})))
        await ok(organisation.requester.delete(await line_of(organisation, porf), etag="*"), 204)
        assert_adds_up(await current(organisation, porf))


@pytest.mark.parametrize(("mode", "tax"), [("document", "0.03"), ("line", "0.02")])
async def test_tax_is_rounded_in_the_mode_of_the_organisation(
    app: FastAPI, client: httpx.AsyncClient, mode: str, tax: str
) -> None:
    organisation = await new_organisation(app, client, tax_rounding=mode)
    lines = [{"description": "x", "quantity": "1", "unit_price": price, "tax_rate": "10"} for price in ("0.14", "0.11")]
    porf = await organisation.draft(lines=lines)
    assert (porf.json()["tax_rounding"], porf.json()["tax"]) == (mode, tax)
    assert porf.json()["taxes"] == [{"rate": "10", "net": "0.25", "tax": tax}]


async def test_a_request_keeps_the_rounding_it_was_raised_under(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    etag = (await ok(organisation.admin.get("/organisations/current"))).headers["ETag"]
    await ok(organisation.admin.patch("/organisations/current", etag=etag, json={"tax_rounding": "line"}))
    path = f"/porfs/{porf.json()['id']}/lines"
    await created(organisation.requester.post(path, etag=porf.headers["ETag"], json=LINE))
    after = await current(organisation, porf)
    assert after.json()["tax_rounding"] == "document"
    assert_adds_up(after)
    assert (await organisation.draft()).json()["tax_rounding"] == "line"
