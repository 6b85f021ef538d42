"""Who may approve: the predicates of the guards and the SQL of the lists agree for all requests and members."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from po_api.approvals.domain import least_limit
from po_api.approvals.eligibility import APPROVES, DECIDES, Approver, refusal
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.currencies import minor_units, smallest_amount
from po_api.core.money import in_base_currency
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.db.query import TransactionExecutor
from po_api.porfs.domain import MACHINE, PorfAction
from po_api.porfs.maximum import maximum_total
from po_api.porfs.queries import PorfQueries
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import PorfRepository
from support.clusters import connected
from support.organisations import LINE, Tenant, act, created, new_tenant
from support.repetition import part_of


@dataclass(frozen=True)
class Case:
    """A request, its organisation, and a member."""

    currency: str
    total: Decimal
    base_currency: str
    allow_self_approval: bool
    is_own: bool
    is_author: bool
    roles: frozenset[Role]
    limit: Decimal | None
    is_active: bool
    tolerance: Decimal = Decimal(0)
    rate: Decimal | None = None  # of the currency in the base currency
    has_other_rate: bool = False

    @property
    def ceiling(self) -> Decimal | None:
        """What can be ordered at most in the base currency; None if that is not known."""
        if self.currency == self.base_currency:
            return self.maximum
        return None if self.rate is None else in_base_currency(self.maximum, self.rate, self.base_currency)

    @property
    def maximum(self) -> Decimal:
        """What can be ordered at most: one of something for `total`, with the tolerance."""
        return _maximum(self.total, self.tolerance, self.currency)


@dataclass(frozen=True)
class _Line:
    """The line of the request."""

    unit_price: Decimal
    over_order_percent: Decimal
    quantity: Decimal = Decimal(1)
    discount_percent: Decimal = Decimal(0)
    tax_rate: Decimal = Decimal(0)


def _maximum(total: Decimal, tolerance: Decimal, currency: str) -> Decimal:
    return maximum_total([_Line(total, tolerance)], currency=currency, tax_rounding="document")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Limits are none, zero, the total or what can be ordered at most, or one minor unit more or less."""
    currency = draw(st.sampled_from(["EUR", "JPY", "TND"]))
    unit = Decimal(1).scaleb(-minor_units(currency))
    total = draw(st.integers(0, 1_000_000)) * unit
    tolerance = draw(st.sampled_from([Decimal(0), Decimal(10), Decimal("33.3333"), Decimal("999.9999")]))
    base_currency = draw(st.sampled_from([currency, "EUR", "GBP"]))
    rate = draw(st.none() | st.decimals(min_value="0.0001", max_value=200, places=10))
    amounts = [(total, unit), (_maximum(total, tolerance, currency), unit)]
    if rate is not None:
        amounts.append((in_base_currency(amounts[1][0], rate, base_currency), smallest_amount(base_currency)))
    near = st.sampled_from(
        [max(amount + step * smallest, Decimal(0)) for amount, smallest in amounts for step in (-1, 0, 1)]
    )
    return Case(
        currency=currency,
        total=total,
        base_currency=base_currency,
        rate=rate,
        has_other_rate=draw(st.booleans()),
        allow_self_approval=draw(st.booleans()),
        is_own=draw(st.booleans()),
        is_author=draw(st.booleans()),
        roles=draw(st.frozensets(st.sampled_from(Role), min_size=1)) | draw(st.sampled_from([set(), {Role.APPROVER}])),
        limit=draw(st.one_of(st.none(), st.just(Decimal(0)), near, near)),
        is_active=draw(st.sampled_from([True, True, False])),
        tolerance=tolerance,
    )


def _plain(
    limit: str | None,
    *,
    total: str = "100.00",
    currency: str = "EUR",
    tolerance: str = "0",
    rate: str | None = None,
    has_other_rate: bool = False,
) -> Case:
    """A case in which the result depends on the limit only."""
    approver = frozenset({Role.APPROVER})
    amount = None if limit is None else Decimal(limit)
    own = Case(currency, Decimal(total), "EUR", False, False, False, approver, amount, True, Decimal(tolerance))
    return replace(own, rate=None if rate is None else Decimal(rate), has_other_rate=has_other_rate)


def _involved(*, is_own: bool, is_author: bool, allowed: bool = False) -> Case:
    """A case in which the result depends on the member's part in the request only."""
    approver = frozenset({Role.APPROVER})
    return Case("EUR", Decimal(100), "EUR", allowed, is_own, is_author, approver, None, True)


@dataclass(frozen=True)
class Scene:
    """An organisation with two members and two requests, whose rows each example changes."""

    tenant: Tenant
    owner: asyncpg.Connection
    member_id: int
    other_id: int
    pending_id: int
    draft_id: int

    async def set(self, case: Case) -> Actor:
        """Write the rows of the case; returns the member as an actor."""
        organisation_id = self.tenant.organisation_id
        await self.owner.execute(
            "UPDATE organisations SET currency = $2, allow_self_approval = $3, over_order_percent = $4 WHERE id = $1",
            *(organisation_id, case.base_currency, case.allow_self_approval, case.tolerance),
        )
        await self.owner.execute(
            "UPDATE members SET roles = $3, approval_limit = $4, is_active = $5"
            " WHERE organisation_id = $1 AND user_id = $2",
            *(organisation_id, self.member_id, sorted(case.roles), case.limit, case.is_active),
        )
        await self.owner.execute(
            "UPDATE porfs SET currency = $2, net = $3, tax = 0, total = $3, requester_id = $4, author_ids = $5,"
            " base_currency = NULL, base_rate = NULL, base_rate_date = NULL, base_net = NULL, base_total = NULL"
            " WHERE organisation_id = $1",
            *(organisation_id, case.currency, case.total, self.member_id if case.is_own else self.other_id),
            [self.other_id, self.member_id] if case.is_author else [],
        )
        await self.owner.execute(
            "UPDATE porfs SET over_order_percent = $2, maximum_total = $3, base_ceiling = $4 WHERE id = $1",
            *(self.pending_id, case.tolerance, case.maximum, case.ceiling),
        )
        await self.owner.execute(
            "UPDATE approval_steps SET least_limit = $2 WHERE organisation_id = $1",
            *(organisation_id, least_limit(case.ceiling)),
        )
        await self.owner.execute(
            "UPDATE porf_lines SET quantity = 1, unit_price = $2, tax_rate = 0, over_order_percent = $3"
            " WHERE organisation_id = $1",
            *(organisation_id, case.total, case.tolerance),
        )
        await self.owner.execute("DELETE FROM exchange_rates WHERE organisation_id = $1", organisation_id)
        rates = {case.currency: case.rate, "CHF": Decimal(1) if case.has_other_rate else None}
        for currency, rate in rates.items():
            if rate is not None and currency != case.base_currency:
                await self.owner.execute(
                    "INSERT INTO exchange_rates (organisation_id, currency, rate_date, rate, source, created_by_id)"
                    " VALUES ($1, $2, $3, $4, 'manual', $5)",
                    *(organisation_id, currency, utc_now().date() - timedelta(days=2), rate, self.other_id),
                )
        return Actor(organisation_id, self.member_id, case.roles, case.limit)


@pytest.fixture(scope="module")
async def scene(app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]) -> AsyncIterator[Scene]:
    tenant = await new_tenant(app, client)
    other, member = await tenant.member(Role.REQUESTER), await tenant.member(Role.APPROVER)
    draft, pending = [await created(other.post("/porfs", json={"title": "x", "lines": [LINE]})) for _ in range(2)]
    pending = await act(other, pending, "submit")
    async with connected(urls[0]) as owner:
        yield Scene(tenant, owner, member.user_id, other.user_id, pending.json()["id"], draft.json()["id"])


@pytest.mark.heavy
@settings(max_examples=part_of(200), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(case=cases())
@example(_plain("100.00"))
@example(_plain("99.99"))
@example(_plain("100.00", tolerance="10"))
@example(_plain("109.99", tolerance="10"))
@example(_plain("110.00", tolerance="10"))
@example(_plain("1099.99", tolerance="999.9999"))
@example(_plain("1100.00", tolerance="999.9999"))
@example(_plain("100.01"))
@example(_plain("0"))
@example(_plain("0", total="0.00"))
@example(_plain("100", currency="JPY"))
@example(_plain(None, currency="JPY"))
@example(_plain("0.61", total="100", currency="JPY", rate="0.006135"))
@example(_plain("0.60", total="100", currency="JPY", rate="0.006135"))
@example(_plain("100", total="100", currency="JPY", has_other_rate=True))
@example(_plain("0.67", total="100", currency="JPY", rate="0.006135", tolerance="10"))
@example(_involved(is_own=False, is_author=True))
@example(_involved(is_own=True, is_author=False))
@example(_involved(is_own=True, is_author=True, allowed=True))
async def test_predicates_and_sql_agree_on_who_may_approve(scene: Scene, case: Case) -> None:
    actor = await scene.set(case)
    async with scene.tenant.database.sessions() as session:
        await enter_tenant(session, actor.organisation_id)
        auditor = Actor(actor.organisation_id, scene.other_id, frozenset({Role.AUDITOR}))
        executor = TransactionExecutor(session)
        everything, own = PorfReadService(executor, auditor), PorfReadService(executor, actor)
        # Those of the member, whatever they may see.
        facts = await PorfReadService(executor, replace(auditor, user_id=scene.member_id)).facts(scene.pending_id)
        refused = MACHINE.refusal(PorfAction.APPROVE, facts, actor)

        waiting = await own.page(Filters(waiting_for_me=True), PageRequest())
        assert [json.loads(item)["id"] for item in waiting.items] == ([] if refused else [scene.pending_id])

        shown = [json.loads(item) for item in (await own.page(Filters(), PageRequest())).items]
        allowed = ["approve" in porf["allowed_actions"] for porf in shown if porf["id"] == scene.pending_id]
        # Members who neither raised nor may approve it do not see it.
        assert allowed in ([], [refused is None])

        member = Approver(scene.member_id, case.limit, Role.APPROVER in case.roles, case.is_active)
        is_eligible = refusal(APPROVES, facts, member) is None
        assert is_eligible == (refused is None and case.is_active)
        without = await PorfRepository(session, auditor).without_approver()
        assert [porf_id for porf_id, _ in without] == ([] if is_eligible else [scene.pending_id])
        assert (await everything.facts(scene.draft_id)).has_approver == is_eligible
        asked = json.loads((await everything.whole(scene.pending_id)).json)["approvers"]
        assert (asked["count"], [item["id"] for item in asked["members"]]) == (
            (1, [scene.member_id]) if is_eligible else (0, [])
        )

        excluded = await PorfQueries(executor, auditor).excluded_approvers(scene.draft_id)
        decides = refusal(DECIDES, facts, member) is None
        assert excluded.limited == (decides and not is_eligible)
        assert excluded.highest_limit == (case.limit if excluded.limited else None)
        assert excluded.authors == (not decides and member.is_active and member.has_role)
