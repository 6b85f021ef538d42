"""Numbers: the year in the organisation's time zone, its prefix, and its own series."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from po_api.db.database import enter_tenant
from po_api.organisations.domain import DocumentType, format_number, period_of
from po_api.organisations.repository import OrganisationRepository
from po_api.organisations.service import OrganisationService
from support.invariants import check
from support.organisations import TestOrganisation, created, new_organisation, ok, perform

NEW_YEARS_EVE = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)


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


async def test_each_year_has_a_series_of_its_own(organisation: TestOrganisation) -> None:
    organisation_id = organisation.organisation_id
    async with organisation.database.sessions() as session:
        await enter_tenant(session, organisation_id)
        repository = OrganisationRepository(session)
        periods = ("2026", "2026", "2027", "2026", "2027")
        values = [
            await repository.next_value(organisation_id, DocumentType.PURCHASE_ORDER, period) for period in periods
        ]
        await session.rollback()
    assert values == [1, 2, 1, 3, 2]


async def test_a_number_is_of_the_year_of_the_moment_that_the_document_bears(organisation: TestOrganisation) -> None:
    await configure(organisation, timezone="Pacific/Auckland")
    async with organisation.database.sessions() as session:
        await enter_tenant(session, organisation.organisation_id)
        organisations = OrganisationService(session)
        row = await organisations.get(organisation.organisation_id)
        moments = (NEW_YEARS_EVE - timedelta(hours=13), NEW_YEARS_EVE, NEW_YEARS_EVE - timedelta(hours=13))
        taken = [await organisations.next_number(row, DocumentType.PORF, moment) for moment in moments]
        await session.rollback()
    assert taken == ["PORF-2026-000001", "PORF-2027-000001", "PORF-2026-000002"]


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
