"""Exchange rates through the API: added, corrected, imported, found by the day of a document, deleted while unused."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from support.invariants import check
from support.organisations import TestOrganisation, created, new_organisation, ok, refused
from support.pages import all_items

RATES = "/exchange-rates"
USD: dict[str, Any] = {"currency": "USD", "rate_date": "2026-03-02", "rate": "0.9215"}


@pytest.fixture
async def company(app: FastAPI, client: httpx.AsyncClient) -> TestOrganisation:
    return await new_organisation(app, client, currency="EUR", timezone="Europe/Berlin")


async def rate(company: TestOrganisation, day: str, value: str, currency: str = "USD") -> httpx.Response:
    body = {"currency": currency, "rate_date": day, "rate": value, "confirm": True}
    return await created(company.admin.post(RATES, json=body))


async def imported(company: TestOrganisation, text: str, **form: str) -> httpx.Response:
    files = {"file": ("rates.csv", text.encode())}
    return await company.admin.post(f"{RATES}/import", files=files, data=form)


async def listed(company: TestOrganisation, **query: Any) -> list[tuple[str, str, str]]:
    items = await all_items(company.requester, RATES, limit=2, **query)
    return [(item["currency"], item["rate_date"], item["rate"]) for item in items]


async def events(company: TestOrganisation) -> list[tuple[str, Any, Any]]:
    found = (await ok(company.admin.get("/audit-events?entity=exchange_rate&sort=created_at"))).json()["items"]
    return [(item["action"], item["before"], item["after"]) for item in found]


async def test_a_rate_is_added_and_corrected_with_an_event_each(company: TestOrganisation) -> None:
    added = await created(company.admin.post(RATES, json=USD))
    assert added.json() | USD == added.json()
    assert (added.json()["source"], added.json()["created_by_id"]) == ("manual", company.admin.user_id)
    same = await ok(company.admin.post(RATES, json=USD | {"rate": "0.92150"}))
    assert same.json() == added.json()
    await ok(company.admin.post(f"{RATES}?dry_run=true", json=USD | {"rate": "0.93"}))
    corrected = await ok(company.admin.post(RATES, json=USD | {"rate": "0.9251", "source": "ecb"}))
    assert (corrected.json()["id"], corrected.json()["rate"]) == (added.json()["id"], "0.9251")
    path = f"{RATES}/{added.json()['id']}"
    await refused(company.buyer.delete(path), 403, "missing_role")
    await ok(company.admin.delete(path), 204)
    await refused(company.admin.delete(path), 404, "exchange_rate_not_found")
    first, last = USD | {"source": "manual"}, USD | {"rate": "0.9251", "source": "ecb"}
    assert [(action, _plain(before), _plain(after)) for action, before, after in await events(company)] == [
        ("exchange_rate.create", None, first),
        ("exchange_rate.correct", first, last),
        ("exchange_rate.delete", last, None),
    ]


def _plain(values: Any) -> Any:
    return values and values | {"rate": values["rate"].rstrip("0")}


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"rate": "0"}, "/rate", "greater_than"),
        ({"rate": "-1"}, "/rate", "decimal_string"),
        ({"rate": "1e3"}, "/rate", "decimal_string"),
        ({"rate": "0.12345678901"}, "/rate", "decimal_string"),
        ({"rate": 0.92}, "/rate", "decimal_string"),
        ({"currency": "usd"}, "/currency", "string_pattern_mismatch"),
        ({"currency": "BGN"}, "/currency", "withdrawn_currency"),
        ({"currency": "EUR"}, "/currency", "rate_of_base_currency"),
        ({"rate_date": "02.03.2026"}, "/rate_date", "invalid_date"),
        ({"rate_date": "0001-01-01"}, "/rate_date", "invalid_date"),
        ({"rate_date": "9999-12-31"}, "/rate_date", "invalid_date"),
        ({"source": "guess"}, "/source", "enum"),
    ],
)
async def test_a_wrong_rate_is_refused_where_it_is_wrong(
    company: TestOrganisation, change: dict[str, Any], pointer: str, code: str
) -> None:
    answer = await company.admin.post(RATES, json=USD | change)
    assert answer.status_code == 422, answer.text
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


async def test_a_jump_has_to_be_confirmed(company: TestOrganisation) -> None:
    async def put(day: str, value: str, status: int, **more: Any) -> httpx.Response:
        return await ok(
            company.admin.post(RATES, json={"currency": "USD", "rate_date": day, "rate": value} | more), status
        )

    await put("2026-03-02", "0.5", 201)
    await put("2026-03-03", "0.6", 201)  # exactly 20 %
    problem = (await put("2026-03-04", "0.7200000001", 409)).json()
    assert problem["code"] == "rate_jump"
    assert problem["errors"][0]["pointer"] == "/rate"
    assert "2026-03-03, 0.6;" in problem["detail"]
    await put("2026-03-04", "7.2", 201, confirm=True)
    # A correction is compared with the day before, not with what is corrected; one before all others with the first.
    await put("2026-03-04", "0.72", 200)
    await put("2026-03-01", "0.4", 201)
    await put("2026-02-28", "0.5000000001", 409)
    # With nothing before it, a correction is compared with what is corrected, also in a file.
    problem = (await put("2026-03-01", "4", 409)).json()
    assert "2026-03-01, 0.4;" in problem["detail"]
    days = ["01", "02", "03", "04"]
    text = "currency,rate_date,rate\n" + "".join(f"USD,2026-03-{day},50\n" for day in days)
    answer = await imported(company, text)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/rows/2/rate"]
    shown = await ok(company.admin.get("/organisations/current"))
    assert (shown.json()["max_rate_age_days"], shown.json()["max_rate_jump_percent"]) == (7, "20")
    settings = {"max_rate_jump_percent": "26", "max_rate_age_days": 0}
    await ok(company.admin.patch("/organisations/current", etag=shown.headers["ETag"], json=settings))
    await put("2026-02-28", "0.5", 201)
    answer = await company.admin.patch("/organisations/current", etag="*", json={"max_rate_age_days": 367})
    assert answer.status_code == 422


async def test_the_rate_of_a_document_is_found_by_its_day(company: TestOrganisation) -> None:
    for day, value in [("2026-03-02", "0.9215"), ("2026-03-05", "0.9188"), ("2026-03-05", "0.0061")]:
        await rate(company, day, value, "JPY" if value == "0.0061" else "USD")
    on_day = {
        day: await listed(company, currency="USD", date=day)
        for day in ("2026-03-01", "2026-03-02", "2026-03-04", "2026-03-05", "2026-03-12", "2026-03-13")
    }
    first, second = ("USD", "2026-03-02", "0.9215"), ("USD", "2026-03-05", "0.9188")
    assert list(on_day.values()) == [[], [first], [first], [second], [second], []]
    assert sorted(await listed(company, date="2026-03-06")) == [("JPY", "2026-03-05", "0.0061"), second]
    assert await listed(company, currency=["USD", "JPY"], sort="rate_date", rate_date_lt="2026-03-05") == [first]
    assert len(await listed(company)) == 3


async def test_a_file_is_imported_as_a_whole(company: TestOrganisation) -> None:
    await rate(company, "2026-03-02", "0.9215")
    await rate(company, "2026-03-03", "0.9300")
    rows = ["Rate;Rate date;CURRENCY", "0.9215;2026-03-02;usd", "0.9188;2026-03-03;USD", ";;", "0.0061;2026-03-03;JPY"]
    text = "\ufeff" + "\r\n".join(rows)
    answer = await ok(imported(company, text))
    assert answer.json() == {"added": 1, "corrected": 1, "unchanged": 1}
    assert await listed(company, sort="rate_date") == [
        ("USD", "2026-03-02", "0.9215"),
        ("USD", "2026-03-03", "0.9188"),
        ("JPY", "2026-03-03", "0.0061"),
    ]
    actions = Counter(action for action, _, _ in await events(company))
    assert actions == {"exchange_rate.create": 3, "exchange_rate.correct": 1}


async def test_all_errors_of_a_file_are_told_at_once(company: TestOrganisation) -> None:
    await rate(company, "2026-03-02", "0.9215")
    text = """currency,rate_date,rate
USD,2026-03-03,9.188
USD,2026-03-04,0.92
USD,2026-03-04,0.92
XXX,2026-3-5,0
EUR,2026-03-05,1
JPY,,"0,0061"
GBP,2026-02-30,1.2,x
BGN,2026-03-05,0.51
"""
    problem = await refused(imported(company, text), 422, "import_failed")
    found = sorted((error["pointer"], error["code"]) for error in problem["errors"])
    assert found == [
        ("/rows/2/rate", "rate_jump"),
        ("/rows/3/rate", "rate_jump"),
        ("/rows/4/rate", "rate_jump"),
        ("/rows/4/rate_date", "duplicate_rate"),
        ("/rows/5/currency", "unknown_currency"),
        ("/rows/5/rate", "out_of_range"),
        ("/rows/5/rate_date", "invalid_date"),
        ("/rows/6/currency", "rate_of_base_currency"),
        ("/rows/7/rate", "invalid_number"),
        ("/rows/7/rate_date", "required"),
        ("/rows/8", "unexpected_cell"),
        ("/rows/8/rate_date", "invalid_date"),
        ("/rows/9/currency", "withdrawn_currency"),
    ]
    assert len(await listed(company)) == 1
    wrong = {
        "": "missing_column",
        "currency,rate,price\nUSD,1,2\n": "unknown_column",
        "currency,rate,rate,rate_date\nUSD,1,2,2026-03-05\n": "duplicate_column",
        'currency,rate,rate_date\n"USD,1,2026-03-05\n': "invalid_row",
    }
    for content, code in wrong.items():
        problem = await refused(imported(company, content), 422, "import_failed")
        assert code in {error["code"] for error in problem["errors"]}
    files = {"file": ("rates.csv", "currency;rate;rate_date\nUSD;1;2026\n".encode("utf-16"))}
    await refused(company.admin.post(f"{RATES}/import", files=files), 422, "import_failed")
    confirmed = await ok(imported(company, "currency,rate_date,rate\nUSD,2026-03-03,9.188\n", confirm="true"))
    assert confirmed.json()["added"] == 1


async def test_a_rate_prevents_another_base_currency(app: FastAPI, client: httpx.AsyncClient) -> None:
    for turn in range(3):
        company = await new_organisation(app, client, currency="EUR")
        etag = (await ok(company.admin.get("/organisations/current"))).headers["ETag"]
        both = [
            company.admin.post(RATES, json=USD),
            company.admin.patch("/organisations/current", etag=etag, json={"currency": "USD"}),
        ]
        answers = await asyncio.gather(*(both if turn % 2 else reversed(both)))
        added, changed = answers if turn % 2 else answers[::-1]
        # A rate of the new base currency, or a base currency with a rate: never both.
        assert (added.status_code, changed.status_code) in {(201, 409), (422, 200)}
        if added.status_code == 201:
            assert [error["detail"] for error in changed.json()["errors"]] == ["exchange rates: 1"]


async def test_rates_added_at_once_are_one(company: TestOrganisation, urls: tuple[str, str]) -> None:
    answers = await asyncio.gather(*(company.admin.post(RATES, json=USD) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201]
    assert [action for action, _, _ in await events(company)] == ["exchange_rate.create"]
    await check(urls[0], company.organisation_id)
