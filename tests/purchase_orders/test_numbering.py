"""Numbers: the year in the organisation's time zone, its prefix, and its own series."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from po_api.core.actor import Actor
from po_api.db.database import enter_tenant
from po_api.db.query import Query, TransactionExecutor
from po_api.organisations.domain import DocumentType, format_number, period_of
from po_api.organisations.models import NumberSeries
from po_api.organisations.numbering import Numbering, next_number, taken_number
from po_api.organisations.queries import OrganisationQueries
from support.invariants import check
from support.organisations import TestOrganisation, created, new_organisation, ok, perform

NEW_YEARS_EVE = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)


class Written(NamedTuple):
    """A number that a statement takes and writes."""

    number: str


WRITTEN = Query("tests.take_number", select(taken_number().c.number), Written)


async def configure(organisation: TestOrganisation, **settings: str) -> None:
    current = await ok(organisation.admin.get("/organisations/current"))
    await ok(organisation.admin.patch("/organisations/current", etag=current.headers["ETag"], json=settings))


@pytest.mark.parametrize(
    ("moment", "timezone", "period"),
    [
        (NEW_YEARS_EVE, "Pacific/Auckland", "2027"),
        (NEW_YEARS_EVE, "UTC", "2026"),
        (NEW_YEARS_EVE, "Europe/London", "2026"),
        (NEW_YEARS_EVE, "Europe/Berlin", "2027"),
        (NEW_YEARS_EVE + timedelta(hours=1), "Europe/London", "2027"),
        (NEW_YEARS_EVE + timedelta(hours=1), "America/New_York", "2026"),
        (datetime(2027, 1, 1, 10, 59, tzinfo=UTC), "Pacific/Pago_Pago", "2026"),
        # 31 December 2011 was New Year's Eve in Samoa although the day before had been left out.
        (datetime(2011, 12, 31, 9, 59, tzinfo=UTC), "Pacific/Apia", "2011"),
        (datetime(2011, 12, 31, 10, 0, tzinfo=UTC), "Pacific/Apia", "2012"),
    ],
)
def test_the_year_is_that_of_the_organisations_time_zone(moment: datetime, timezone: str, period: str) -> None:
    assert period_of(moment, timezone) == period


@given(
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["Pacific/Auckland", "Asia/Kathmandu", "America/St_Johns", "Africa/Cairo", "UTC"]),
    st.sampled_from(["Asia/Tokyo", "America/Los_Angeles", "UTC"]),
)
def test_the_zone_in_which_a_time_is_told_does_not_matter(moment: datetime, timezone: str, told_in: str) -> None:
    utc = moment.replace(tzinfo=UTC)
    told = utc.astimezone(ZoneInfo(told_in))
    assert period_of(told, timezone) == period_of(utc, timezone) == str(utc.astimezone(ZoneInfo(timezone)).year)


def test_a_series_of_more_than_a_million_gets_longer_numbers() -> None:
    assert [format_number("PO", "2026", value) for value in (1, 999_999, 1_000_000)] == [
        "PO-2026-000001",
        "PO-2026-999999",
        "PO-2026-1000000",
    ]


async def taken(organisation: TestOrganisation, *numberings: Numbering) -> list[str]:
    """The numbers that a statement of its own takes, and one that the database writes; they are given back."""
    async with organisation.database.sessions() as session:
        await enter_tenant(session, organisation.organisation_id)
        executor, found = TransactionExecutor(session), []
        for numbering in numberings:
            found.append(await next_number(executor, organisation.organisation_id, numbering))
            row = await executor.row(WRITTEN, organisation_id=organisation.organisation_id, **vars(numbering))
            assert row is not None
            found.append(row.number)
        await session.rollback()
    return found


async def test_each_year_has_a_series_of_its_own(organisation: TestOrganisation) -> None:
    years = ("2026", "2027", "2026")
    numbers = await taken(organisation, *(Numbering(DocumentType.PURCHASE_ORDER, year, "PO") for year in years))
    assert numbers == [
        *("PO-2026-000001", "PO-2026-000002", "PO-2027-000001"),
        *("PO-2027-000002", "PO-2026-000003", "PO-2026-000004"),
    ]


@pytest.mark.parametrize("value", [1, 10, 999_998, 999_999, 1_000_000, 2**40])
async def test_the_database_writes_numbers_as_python_does(organisation: TestOrganisation, value: int) -> None:
    numbering = Numbering(DocumentType.PORF, "2026", "A–B 'x'")
    async with organisation.database.sessions() as session:
        await enter_tenant(session, organisation.organisation_id)
        key = {"document_type": numbering.document_type, "period": numbering.period}
        session.add(NumberSeries(organisation_id=organisation.organisation_id, **key, next_value=value))
        await session.flush()
        parameters = {"organisation_id": organisation.organisation_id, **vars(numbering)}
        row = await TransactionExecutor(session).row(WRITTEN, **parameters)
        await session.rollback()
    assert row == Written(format_number(numbering.prefix, numbering.period, value))


async def test_a_number_is_of_the_year_of_the_moment_that_the_document_bears(organisation: TestOrganisation) -> None:
    await configure(organisation, timezone="Pacific/Auckland")
    async with organisation.database.sessions() as session:
        rules = await OrganisationQueries(TransactionExecutor(session)).own(Actor.system(organisation.organisation_id))
    moments = (NEW_YEARS_EVE - timedelta(hours=13), NEW_YEARS_EVE)
    assert [Numbering.of(rules, DocumentType.PORF, moment) for moment in moments] == [
        Numbering(DocumentType.PORF, year, "PORF") for year in ("2026", "2027")
    ]


async def test_numbers_bear_the_year_of_the_organisation(app: FastAPI, client: httpx.AsyncClient) -> None:
    # One of these two is always in another day than the other, and on New Year's Day in another year.
    for timezone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        organisation = await new_organisation(app, client, timezone=timezone)
        issued = await organisation.issued()
        moment = datetime.fromisoformat(issued.json()["issued_at"])
        assert issued.json()["number"] == f"PO-{moment.astimezone(ZoneInfo(timezone)).year}-000001"


async def test_requests_are_numbered_when_they_are_raised_and_orders_when_they_are_issued(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    first, second = await organisation.ordered(), await organisation.ordered()
    numbers = [order.json()["lines"][0]["porf_number"] for order in (first, second)]
    assert [number[-7:] for number in numbers] == ["-000001", "-000002"]
    assert all(number.startswith("PORF-") for number in numbers)
    issued = [await ok(perform(organisation.buyer, order, "issue")) for order in (second, first)]
    assert [order.json()["number"][-7:] for order in issued] == ["-000001", "-000002"]
    await check(urls[0], organisation.organisation_id)


async def test_prefixes_are_the_organisations_and_the_series_goes_on(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    await organisation.issued()
    await configure(organisation, po_prefix="ORDER", porf_prefix="REQ")
    order = await organisation.issued()
    assert order.json()["number"].startswith("ORDER-")
    assert order.json()["number"].endswith("-000002")
    porf_number = order.json()["lines"][0]["porf_number"]
    assert porf_number.startswith("REQ-")
    assert porf_number.endswith("-000002")
    await check(urls[0], organisation.organisation_id)


async def test_each_organisation_has_its_own_series(
    organisation: TestOrganisation, app: FastAPI, client: httpx.AsyncClient
) -> None:
    other = await new_organisation(app, client)
    numbers = [(await someone.issued()).json()["number"][-6:] for someone in (organisation, other, organisation, other)]
    assert numbers == ["000001", "000001", "000002", "000002"]


async def test_a_deleted_drafts_number_is_not_given_again(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    await ok(organisation.requester.delete(path, etag=draft.headers["ETag"]), 204)
    assert (await organisation.draft()).json()["number"].endswith("-000002")
    await check(urls[0], organisation.organisation_id)


async def test_a_refused_request_takes_no_number(organisation: TestOrganisation) -> None:
    line = {"description": "Lamp", "quantity": "1", "unit_price": "1"}
    body = {"title": "Lamps", "total": "2.00", "lines": [line]}
    await ok(organisation.requester.post("/porfs", json=body), 422)
    raised = await created(organisation.requester.post("/porfs", json=body | {"total": "1.00"}))
    assert raised.json()["number"].endswith("-000001")
