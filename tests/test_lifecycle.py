"""People of two organisations do anything in any order: nobody approves what they may not, nothing else is ordered."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, ClassVar

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from po_api.core.permissions import Role
from support.invariants import check_connection
from support.lifecycle import BASE, FOREIGN, NAMES, TAX_IDS, Company, Lifecycle, Order, Person, Request, new_company
from support.organisations import new_tenant


def _line(quantity: str, price: str) -> dict[str, str]:
    return {"description": "Desk lamp", "quantity": quantity, "unit_price": price, "tax_rate": "20"}


_companies = st.sampled_from([0, 0, 0, 1])
_people = st.integers(0, 2)
_any = st.integers(0, 1000)
_mostly = st.sampled_from([True, True, True, False])
_quantities = st.sampled_from(["1", "10", "0.3333"])
_prices = st.sampled_from(["10", "9.9999", "0"])
_suppliers = st.sampled_from([0, 1, None])
_actions = ("submit", "approve", "recall", "return", "reject", "revise", "cancel", "reopen", "close", "copy")
_headers = st.sampled_from([{"title": "Lights"}, {"currency": BASE}, {"currency": FOREIGN}])
_edits = st.one_of(
    st.tuples(st.just("PATCH"), st.just(""), _headers),
    st.tuples(st.just("POST"), st.just("/lines"), st.builds(_line, _quantities, _prices)),
    st.tuples(st.just("PATCH"), st.just("/lines/{line}"), st.fixed_dictionaries({"quantity": _quantities})),
    st.tuples(st.just("DELETE"), st.just("/lines/{line}"), st.none()),
)
_settings = st.one_of(
    st.fixed_dictionaries({"over_order_percent": st.sampled_from(["0", "10", "33.3333", "999"])}),
    st.fixed_dictionaries({"allow_self_approval": st.booleans()}),
    st.fixed_dictionaries({"tax_rounding": st.sampled_from(["line", "document"])}),
)
_limits = st.sampled_from([*map(Decimal, ("120.00", "131.99", "132.00", "1000.00")), None])
_roles = st.sets(st.sampled_from(Role), min_size=1)
_order_lines = st.one_of(
    st.fixed_dictionaries({"unit_price": st.sampled_from(["5", "9.9999", "10", "10.0001"])}),
    st.fixed_dictionaries({"tax_rate": st.sampled_from(["0", "20", "32", "100"])}),
    st.fixed_dictionaries({"share": st.sampled_from([*map(Decimal, ("0.3", "1.1", "2"))])}),
)
_identities = st.one_of(
    st.fixed_dictionaries({"name": st.sampled_from(NAMES)}), st.fixed_dictionaries({"tax_id": st.sampled_from(TAX_IDS)})
)
_ADMINS, _BUYERS = {Role.ADMIN}, {Role.BUYER, Role.ADMIN}
# The way to an issued order.
_NEXT = {"draft": "submit", "pending": "approve", "approved": "convert", "partially_ordered": "convert"}


class People(RuleBasedStateMachine):
    """Every rule is one step of one person. Its class attributes come from the test's fixtures."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    app: ClassVar[FastAPI]
    client: ClassVar[httpx.AsyncClient]
    owner: ClassVar[asyncpg.Connection]

    def __init__(self) -> None:
        super().__init__()
        self.life: Lifecycle = self.run(self._start())
        self.last: tuple[Company, Person] | None = None

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine in the event loop of the fixtures; hypothesis runs in a thread."""
        return asyncio.run_coroutine_threadsafe(step, self.loop).result()

    async def _start(self) -> Lifecycle:
        companies = [await new_company(await new_tenant(self.app, self.client, currency=BASE)) for _ in range(2)]
        return Lifecycle(companies, self.owner)

    def _company(self, number: int) -> Company:
        return self.life.companies[number]

    def _from(self, company: Company, first: int) -> list[Person]:
        """The people of the company from that one on."""
        return company.people[first:] + company.people[:first]

    def _as(self, company: Company, person: Person) -> Person:
        """Whose lists are checked after the step."""
        self.last = company, person
        return person

    def _with(self, roles: set[Role], company: Company, first: int, *, likely: bool = True) -> Person:
        """Somebody with one of the roles if there is one, or anybody."""
        people = self._from(company, first)
        able = [person for person in people if person.is_active and person.roles & roles]
        return self._as(company, able[0] if able and likely else people[0])

    @staticmethod
    def _request(company: Company, number: int) -> Request | None:
        """One of the newest requests."""
        requests = list(company.requests.values())[-3:]
        return requests[number % len(requests)] if requests else None

    @staticmethod
    def _order(company: Company, number: int) -> Order | None:
        orders = list(company.orders.values())[-3:]
        return orders[number % len(orders)] if orders else None

    @initialize(limit=_limits, percent=st.sampled_from(["10", "0"]))
    def start(self, limit: Decimal | None, percent: str) -> None:
        """A pending and an approved request of 120.00, or 132.00 with the tolerance, and an approver with a limit."""
        for company in self.life.companies:
            admin, approver, _ = company.people
            self.run(self.life.change_settings(company, admin, {"over_order_percent": percent}))
            for supplier in company.suppliers:
                body = {"title": "Lamps", "supplier_id": supplier.id, "lines": [_line("10", "10")]}
                self.run(self.life.raise_request(company, admin, body))
                self.run(self._advance(company, self._request(company, -1), 0))
            self.run(self._advance(company, self._request(company, 0), 0))
            self.run(self.life.change_rights(admin, approver, approver.roles, limit))

    @rule(company=_companies, person=_people, quantity=_quantities, price=_prices, supplier=_suppliers)
    def raise_request(self, company: int, person: int, quantity: str, price: str, supplier: int | None) -> None:
        of = self._company(company)
        who = self._as(of, of.people[person])
        body: dict[str, Any] = {"title": "Lamps", "currency": BASE, "lines": [_line(quantity, price)]}
        if supplier is not None:
            body["supplier_id"] = of.suppliers[supplier].id
        self.run(self.life.raise_request(of, who, body))

    @rule(company=_companies, number=_any, first=_people, steps=st.integers(1, 4))
    def advance(self, company: int, number: int, first: int, steps: int) -> None:
        """Some steps to an order, each by the first person who may take it."""
        of = self._company(company)
        for _ in range(steps):
            self.run(self._advance(of, self._request(of, number), first))

    async def _advance(self, company: Company, request: Request | None, first: int) -> None:
        for person in self._from(company, first) if request else ():
            assert request is not None
            shown = await self.life.look(person, request)
            action = _NEXT.get(shown.json()["status"]) if shown.is_success else None
            if action is None or not shown.json()["allowed_actions"][action]["allowed"]:
                continue
            who = self._as(company, person)
            if action == "convert":
                return await self.life.convert(company, who, [request], None, company.suppliers[0])
            return await self.life.act(company, who, request, action)
        return None

    @rule(company=_companies, person=_people, number=_any, choice=_any, allowed=_mostly)
    def act(self, company: int, person: int, number: int, choice: int, allowed: bool) -> None:
        """An action that the person is allowed, or any one."""
        of = self._company(company)
        who, request = self._as(of, of.people[person]), self._request(of, number)
        if request is None:
            return
        shown = self.run(self.life.look(who, request))
        told = shown.json()["allowed_actions"] if shown.is_success and allowed else {}
        actions = [action for action in _actions if told.get(action, {}).get("allowed")] or _actions
        action = actions[choice % len(actions)]
        self.run(self.life.copy(of, who, request) if action == "copy" else self.life.act(of, who, request, action))

    @rule(company=_companies, person=_people, number=_any, edit=_edits, supplier=_suppliers)
    def edit(self, company: int, person: int, number: int, edit: tuple[str, str, Any], supplier: int | None) -> None:
        of = self._company(company)
        who, request = self._as(of, of.people[person]), self._request(of, number)
        method, path, body = edit
        if method == "PATCH" and not path and supplier is not None:
            body = {"supplier_id": of.suppliers[supplier].id}
        if request is not None:
            self.run(self.life.edit(who, request, path, method, body))

    @rule(company=_companies, person=_people, number=_any, to=_people, as_admin=_mostly)
    def reassign(self, company: int, person: int, number: int, to: int, as_admin: bool) -> None:
        of = self._company(company)
        who, request = self._with(_ADMINS, of, person, likely=as_admin), self._request(of, number)
        if request is not None:
            self.run(self.life.reassign(who, request, of.people[to]))

    @rule(
        company=_companies,
        person=_people,
        numbers=st.lists(_any, min_size=1, max_size=2),
        share=st.sampled_from([None, Decimal("0.5"), Decimal(1)]),
        supplier=st.integers(0, 1),
        as_buyer=_mostly,
    )
    def convert(
        self, company: int, person: int, numbers: list[int], share: Decimal | None, supplier: int, as_buyer: bool
    ) -> None:
        of = self._company(company)
        who = self._with(_BUYERS, of, person, likely=as_buyer)
        chosen = {request.id: request for number in numbers if (request := self._request(of, number))}
        if chosen:
            self.run(self.life.convert(of, who, list(chosen.values()), share, of.suppliers[supplier]))

    @rule(
        company=_companies,
        person=_people,
        number=_any,
        action=st.sampled_from(["issue", "issue", "cancel", "close"]),
        as_buyer=_mostly,
    )
    def act_on_order(self, company: int, person: int, number: int, action: str, as_buyer: bool) -> None:
        of = self._company(company)
        who, order = self._with(_BUYERS, of, person, likely=as_buyer), self._order(of, number)
        if order is not None:
            self.run(self.life.act_on_order(of, who, order, action))

    @rule(company=_companies, person=_people, number=_any, line=_any, values=_order_lines, as_buyer=_mostly)
    def change_order(
        self, company: int, person: int, number: int, line: int, values: dict[str, Any], as_buyer: bool
    ) -> None:
        """Another price or quantity of a line of a draft order, within what was approved or not."""
        of = self._company(company)
        who, order = self._with(_BUYERS, of, person, likely=as_buyer), self._order(of, number)
        if order is not None:
            self.run(self.life.change_order(of, who, order, line, values))

    @rule(
        company=_companies,
        person=_people,
        supplier=st.integers(0, 1),
        values=_identities,
        active=_mostly,
        rename=_mostly,
    )
    def change_supplier(
        self, company: int, person: int, supplier: int, values: dict[str, Any], active: bool, rename: bool
    ) -> None:
        of = self._company(company)
        who, changed = self._with(_ADMINS, of, person), of.suppliers[supplier]
        if rename:
            self.run(self.life.change_supplier(who, changed, values))
        else:
            self.run(self.life.set_supplier_active(who, changed, active=active))

    @rule(company=_companies, person=_people, values=_settings, as_admin=_mostly)
    def change_settings(self, company: int, person: int, values: dict[str, Any], as_admin: bool) -> None:
        of = self._company(company)
        self.run(self.life.change_settings(of, self._with(_ADMINS, of, person, likely=as_admin), values))

    @rule(company=_companies, person=_people, other=_people, roles=_roles, limit=_limits, as_admin=_mostly)
    def change_rights(
        self, company: int, person: int, other: int, roles: set[Role], limit: Decimal | None, as_admin: bool
    ) -> None:
        of = self._company(company)
        who, changed = self._with(_ADMINS, of, person, likely=as_admin), of.people[other]
        # Otherwise nobody could do much after some steps.
        kept = roles | {Role.APPROVER, Role.REQUESTER} if as_admin else roles
        self.run(self.life.change_rights(who, changed, kept, limit))

    @rule(company=_companies, person=_people, other=_people, active=_mostly)
    def set_active(self, company: int, person: int, other: int, active: bool) -> None:
        of = self._company(company)
        self.run(self.life.set_active(self._with(_ADMINS, of, person), of.people[other], active=active))

    @rule(company=_companies, person=_people)
    def trespass(self, company: int, person: int) -> None:
        of = self._company(company)
        self.run(self.life.trespass(self._as(of, of.people[person]), self._company(1 - company)))

    @invariant()
    def nothing_else_happened(self) -> None:
        self.run(self.life.assert_nothing_else_happened())

    @invariant()
    def nobody_sees_another_organisation(self) -> None:
        if self.last is not None:
            self.run(self.life.assert_sees_own_only(*self.last))

    def teardown(self) -> None:
        for company in self.life.companies:
            self.run(check_connection(self.owner, company.tenant.organisation_id))


_THOROUGH = (pytest.mark.exhaustive, pytest.mark.thorough)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "examples",
    [5, pytest.param(20, marks=pytest.mark.exhaustive), pytest.param(100, marks=_THOROUGH)],
    ids=["few examples", "many examples", "more examples"],
)
async def test_whatever_people_do_only_what_was_approved_is_ordered(
    app: FastAPI, client: httpx.AsyncClient, owner: asyncpg.Connection, examples: int
) -> None:
    People.loop, People.app, People.client, People.owner = asyncio.get_running_loop(), app, client, owner
    bounds = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        # Shrinking takes minutes, and the steps of an example are readable as they are.
        phases=[Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    await asyncio.to_thread(run_state_machine_as_test, People, settings=bounds)
