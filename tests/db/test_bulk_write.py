"""Bulk writes: rows are stored as they were sent, and violated constraints are identified."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from po_api.audit.events import AuditEvent
from po_api.core.errors import violated
from po_api.db.bulk_write import as_json, json_rows
from po_api.db.database import enter_tenant, libpq_url
from po_api.db.query import Query, TransactionExecutor
from po_api.porfs.models import Porf, PorfLine
from po_api.users.errors import EmailTaken
from support.organisations import Tenant, TestOrganisation

_COLUMNS = (
    *Porf.__table__.c["number", "total", "needed_by", "submitted_at", "requester_id"],
    *PorfLine.__table__.c["position", "quantity", "tax_rate"],
    *AuditEvent.__table__.c["before", "after"],
)


class _Row(NamedTuple):
    number: str | None
    total: Decimal
    needed_by: date | None
    submitted_at: datetime | None
    requester_id: int
    position: int
    quantity: Decimal
    tax_rate: Decimal
    before: str | None
    after: str | None


_ROWS = Query("test.rows", select(json_rows("rows", *_COLUMNS)), _Row)

_texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=20)
_json = st.dictionaries(_texts, _texts | st.integers(-9, 9) | st.booleans() | st.none(), max_size=3)
_rows = st.fixed_dictionaries(
    {
        "number": _texts | st.none(),
        "total": st.decimals(0, 10**14, places=3) | st.sampled_from([Decimal("1250"), Decimal("1E+3")]),
        "needed_by": st.dates(date(1, 1, 1)) | st.none(),
        "submitted_at": st.datetimes(timezones=st.just(UTC)) | st.none(),
        "requester_id": st.integers(1, 2**63 - 1),
        "position": st.integers(1, 2**31 - 1),
        "quantity": st.decimals(0, 10**13, places=4),
        "tax_rate": st.decimals(0, 100, places=4),
        "before": st.none() | _json,
        "after": _json,
    }
)


@pytest.mark.heavy
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(_rows, max_size=4))
async def test_rows_arrive_as_they_were_sent(tenant: Tenant, rows: list[dict[str, Any]]) -> None:
    async with tenant.database.sessions.begin() as session:
        await enter_tenant(session, tenant.organisation_id)
        found = await TransactionExecutor(session).rows(_ROWS, rows=as_json(rows))
    assert [row._asdict() for row in found] == rows
    assert [str(row.total) for row in found] == [f"{row['total']:f}" for row in rows]  # with its scale


async def test_what_the_driver_is_refused_is_known_by_its_constraint(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    connection = await asyncpg.connect(libpq_url(urls[1]))
    with pytest.raises(asyncpg.UniqueViolationError) as refusal:
        await connection.execute("INSERT INTO users (email, name) VALUES ($1, 'X')", organisation.buyer.email)
    await connection.close()
    assert isinstance(violated(refusal.value), EmailTaken)


@pytest.mark.parametrize("name", ["uq_users_email", "uq_users_email_102041"])
def test_a_constraint_of_another_server_is_named_by_the_message(name: str) -> None:
    """A distributed database reports the constraint of a part of the table, without a name of its own."""
    error = asyncpg.UniqueViolationError(f'duplicate key value violates unique constraint "{name}"')
    assert isinstance(violated(error), EmailTaken)
    assert violated(asyncpg.UniqueViolationError('violates unique constraint "uq_users"')) is None
