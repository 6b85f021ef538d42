"""Two organisations with three people each, as a model beside the API: what was approved by whom, and what may follow.

The model knows the rules of domain.md by itself: it computes from the responses to accepted requests only, and asserts
of each accepted step that it was allowed. What the API refuses is compared with the reasons that it shows beforehand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

import asyncpg
import httpx

from po_api.core.money import PricedLine, TaxRounding, totals
from po_api.core.permissions import Role
from support.organisations import Member, Tenant, ok, with_new_session

Json = dict[str, Any]
BASE, FOREIGN = "GBP", "USD"
NAMES, TAX_IDS = ("Acme Ltd", "Acme Limited", "Mallory Ltd"), (None, "GB1", "GB2")
_ROLES = (
    {Role.ADMIN, Role.REQUESTER, Role.BUYER, Role.APPROVER},
    {Role.REQUESTER, Role.APPROVER},
    {Role.BUYER, Role.APPROVER},
)
# Fields of a line that an order takes over as they were approved.
_COPIED = ("description", "sku", "unit", "unit_price", "discount_percent", "tax_rate")
# Refusals of what the body says, which no representation can show beforehand.
_OF_BODIES = {
    "unknown_supplier",
    "unknown_requester",
    "requester_has_approved",
    "supplier_required",
    "mixed_suppliers",
    "mixed_currencies",
    "mixed_tax_rounding",
    "quantity_exceeds_remaining",
    "nothing_left",
}


@dataclass
class Person:
    """A member as the model knows them; `limit` None is no limit."""

    member: Member
    roles: set[Role]
    limit: Decimal | None = None
    is_active: bool = True


@dataclass
class Supplier:
    """A supplier's identity as of now."""

    id: int
    name: str
    tax_id: str | None


@dataclass(frozen=True)
class Approval:
    """What an approver has agreed to."""

    supplier_id: int | None
    supplier: tuple[str, str | None] | None
    lines: Mapping[int, Json]
    tolerance: Decimal
    currency: str
    limit: Decimal | None

    def largest(self, line_id: int) -> Decimal:
        """The quantity of a line that may be ordered at most."""
        most = Decimal(self.lines[line_id]["quantity"]) * (100 + self.tolerance) / 100
        return most.quantize(Decimal("0.0001"), ROUND_DOWN)


@dataclass
class Request:
    """A request: its authors, the tolerance at its submission, and the approval of the current round."""

    id: int
    authors: set[int]
    tolerance: Decimal = Decimal(0)
    approval: Approval | None = None
    approvals: int = 0


@dataclass
class Order:
    """An order, with the identity of the supplier that it is made out to."""

    id: int
    supplier: tuple[str, str | None]
    lines: list[Json]
    total: Decimal
    is_cancelled: bool = False
    is_issued: bool = False
    exceeds_approved: bool = False
    has_other_taxes: bool = False


@dataclass
class Company:
    """An organisation with its settings, as the model knows them."""

    tenant: Tenant
    people: list[Person]
    suppliers: list[Supplier]
    tolerance: Decimal = Decimal(0)
    self_approval: bool = False
    requests: dict[int, Request] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)

    def supplier(self, supplier_id: int) -> Supplier:
        return next(supplier for supplier in self.suppliers if supplier.id == supplier_id)

    def identity(self, supplier_id: int | None) -> tuple[str, str | None] | None:
        if supplier_id is None:
            return None
        supplier = self.supplier(supplier_id)
        return supplier.name, supplier.tax_id


async def new_company(tenant: Tenant) -> Company:
    """A company whose first member is an admin; it has two suppliers."""
    people = [Person(await tenant.member(*roles), set(roles)) for roles in _ROLES]
    suppliers = []
    for name in NAMES[:2]:
        made = await ok(people[0].member.post("/suppliers", json={"name": name}), 201)
        suppliers.append(Supplier(made.json()["id"], name, None))
    return Company(tenant, people, suppliers)


class Lifecycle:
    """Performs steps, and asserts that what the API accepts is allowed. Each method is one step."""

    def __init__(self, companies: list[Company], owner: asyncpg.Connection) -> None:
        self.companies = companies
        self._owner = owner

    # Requests

    async def raise_request(self, company: Company, person: Person, body: Json) -> None:
        made = await person.member.post("/porfs", json=body)
        may = person.is_active and bool(person.roles & {Role.REQUESTER, Role.BUYER, Role.ADMIN})
        assert_outcome(made, may=may)
        if made.is_success:
            company.requests[made.json()["id"]] = Request(made.json()["id"], {person.member.user_id})

    async def edit(self, person: Person, request: Request, path: str, method: str, body: Any) -> None:
        """Change the header, or a line whose number among the lines replaces `{line}` in the path."""
        shown = await self.look(person, request)
        place = f"/porfs/{request.id}{path}"
        if "{line}" in path:
            lines = shown.json().get("lines") if shown.is_success else None
            place = place.replace("{line}", str(lines[0]["id"] if lines else 1))
        done = await person.member.request(method, place, etag="*", **({} if body is None else {"json": body}))
        if done.status_code == 404 and done.json()["code"] == "porf_line_not_found":
            return
        self.assert_agrees(shown, "edit", done)
        if done.is_success:
            after = (await self._version_of(request)) if method == "DELETE" else done.headers["ETag"]
            if after != shown.headers["ETag"]:
                request.authors.add(person.member.user_id)

    async def _version_of(self, request: Request) -> str:
        """The ETag of the request, read by the owner of the tables."""
        version = await self._owner.fetchval("SELECT version FROM porfs WHERE id = $1", request.id)
        return f'"{version}"'

    async def act(self, company: Company, person: Person, request: Request, action: str) -> None:
        """Perform an action without further parameters than a comment."""
        shown = await self.look(person, request)
        path = f"/porfs/{request.id}/{action}"
        done = await person.member.post(path, etag="*", json={"comment": "x"})
        self.assert_agrees(shown, action, done)
        if not done.is_success:
            return
        if action == "submit":
            request.authors.add(person.member.user_id)
            request.tolerance = company.tolerance
        elif action == "approve":
            self._approve(company, person, request, shown.json())
        elif action in ("reopen", "revise", "recall", "return"):
            request.approval = None

    def _approve(self, company: Company, person: Person, request: Request, shown: Json) -> None:
        """Assert that the person may approve what they see."""
        assert Role.APPROVER in person.roles
        assert person.is_active
        assert company.self_approval or person.member.user_id not in request.authors
        approval = Approval(
            shown["supplier_id"],
            company.identity(shown["supplier_id"]),
            {line["id"]: line for line in shown["lines"]},
            request.tolerance,
            shown["currency"],
            person.limit,
        )
        assert shown["supplier_name"] == (approval.supplier and approval.supplier[0])
        assert Decimal(shown["over_order_percent"]) == request.tolerance
        most = self._total({line: approval.largest(line) for line in approval.lines}, approval, shown["tax_rounding"])
        assert Decimal(shown["maximum_total"]) == most
        if person.limit is not None:
            assert shown["currency"] == BASE
            assert most <= person.limit
        request.approval = approval
        request.approvals += 1

    def _total(self, quantities: Mapping[int, Decimal], approval: Approval, tax_rounding: str) -> Decimal:
        priced = [
            PricedLine(quantity, *(Decimal(approval.lines[line][name]) for name in _COPIED[3:]))
            for line, quantity in quantities.items()
        ]
        return totals(priced, currency=approval.currency, tax_rounding=TaxRounding(tax_rounding)).total

    async def reassign(self, person: Person, request: Request, to: Person) -> None:
        shown = await self.look(person, request)
        body = {"requester_id": to.member.user_id}
        done = await person.member.post(f"/porfs/{request.id}/reassign", etag="*", json=body)
        self.assert_agrees(shown, "reassign", done)
        if done.is_success:
            request.authors |= {to.member.user_id}

    async def copy(self, company: Company, person: Person, request: Request) -> None:
        shown = await self.look(person, request)
        done = await person.member.post(f"/porfs/{request.id}/copy")
        self.assert_agrees(shown, "copy", done)
        if done.is_success:
            company.requests[done.json()["id"]] = Request(done.json()["id"], {person.member.user_id})

    # Orders

    async def convert(
        self, company: Company, person: Person, requests: list[Request], share: Decimal | None, supplier: Supplier
    ) -> None:
        """Order a share of what may be ordered of each line, or with None all that remains."""
        shown = [await self.look(person, request) for request in requests]
        body: Json = {"porf_ids": [request.id for request in requests]}
        if all(item.is_success and item.json()["supplier_id"] is None for item in shown):
            body["supplier_id"] = supplier.id
        if share is not None:
            body["lines"] = list(_shares(shown, share))
        done = await person.member.post("/purchase-orders", json=body)
        for item in shown if done.is_success else shown[:1] if len(shown) == 1 else ():
            self.assert_agrees(item, "convert", done)
        if done.is_success:
            company.orders[done.json()["id"]] = self._ordered(company, requests, done.json())

    def _ordered(self, company: Company, requests: list[Request], shown: Json) -> Order:
        """Assert that an order has nothing but what was approved."""
        order = Order(
            shown["id"],
            (shown["supplier_name"], shown["supplier_tax_id"]),
            shown["lines"],
            Decimal(shown["total"]),
        )
        by_id = {request.id: request for request in requests}
        for line in shown["lines"]:
            request = by_id[line["porf_id"]]
            approval = request.approval
            assert approval is not None
            approved = approval.lines[line["porf_line_id"]]
            assert {name: line[name] for name in _COPIED} == {name: approved[name] for name in _COPIED}
            assert shown["currency"] == approval.currency
            if approval.supplier_id is not None:
                assert shown["supplier_id"] == approval.supplier_id
                assert order.supplier == approval.supplier
            held = Decimal(line["quantity"]) + sum(self._held(company, line["porf_line_id"]), Decimal(0))
            assert held <= approval.largest(line["porf_line_id"])
        self._assert_within_limits(company, by_id, order)
        return order

    def _held(self, company: Company, porf_line_id: int) -> Iterable[Decimal]:
        for order in company.orders.values():
            for line in () if order.is_cancelled else order.lines:
                if line["porf_line_id"] == porf_line_id:
                    yield Decimal(line["quantity"])

    def _assert_within_limits(self, company: Company, requests: Mapping[int, Request], new: Order) -> None:
        """All orders of a single request together, but for the rounding of each line and tax rate."""
        for request in requests.values():
            limit = None if request.approval is None else request.approval.limit
            known = (company.orders | {new.id: new}).values()
            # A draft may be dearer, but is not issued then.
            as_approved = [each for each in known if not (each.exceeds_approved or each.has_other_taxes)]
            issued = [each for each in known if each.is_issued]
            for orders in (as_approved, issued):
                own = [each for each in orders if {line["porf_id"] for line in each.lines} == {request.id}]
                rounding = Decimal("0.01") * sum(2 * len(each.lines) for each in own)
                total = sum(each.total for each in own if not each.is_cancelled)
                assert limit is None or total <= limit + rounding

    async def change_order(self, company: Company, person: Person, order: Order, index: int, values: Json) -> None:
        """Change a line of an order; a `share` is a new quantity, in parts of the present one."""
        line = order.lines[index % len(order.lines)]
        if "share" in values:
            quantity = (Decimal(line["quantity"]) * values["share"]).quantize(Decimal("0.0001"), ROUND_DOWN)
            values = {"quantity": f"{max(quantity, Decimal('0.0001')):f}"}
        path = f"/purchase-orders/{order.id}"
        shown = await person.member.get(path)
        done = await person.member.patch(f"{path}/lines/{line['id']}", etag="*", json=values)
        self.assert_agrees(shown, "edit", done)
        if not done.is_success:
            return
        order.lines, order.total = done.json()["lines"], Decimal(done.json()["total"])
        approved, has_other_taxes = Decimal(0), False
        for item in order.lines:
            approval = company.requests[item["porf_id"]].approval
            assert approval is not None
            assert sum(self._held(company, item["porf_line_id"]), Decimal(0)) <= approval.largest(item["porf_line_id"])
            price = Decimal(approval.lines[item["porf_line_id"]]["unit_price"])
            approved += (Decimal(item["quantity"]) * price).quantize(Decimal("0.01"), ROUND_HALF_UP)
            taxes = approval.lines[item["porf_line_id"]]["tax_rate"], item["tax_rate"]
            has_other_taxes |= taxes[0] != taxes[1]
        order.exceeds_approved = Decimal(done.json()["net"]) > approved
        order.has_other_taxes = has_other_taxes

    async def act_on_order(self, company: Company, person: Person, order: Order, action: str) -> None:
        path = f"/purchase-orders/{order.id}"
        shown = await person.member.get(path)
        note = {} if action == "issue" else {"comment": "x"}
        done = await person.member.post(f"{path}/{action}", etag="*", json=note)
        self.assert_agrees(shown, action, done)
        if done.is_success:
            order.is_cancelled |= action == "cancel"
            assert (done.json()["supplier_name"], done.json()["supplier_tax_id"]) == order.supplier
            assert [line["quantity"] for line in done.json()["lines"]] == [line["quantity"] for line in order.lines]
        if done.is_success and action == "issue":
            assert not order.exceeds_approved
            order.is_issued = True
            porf_ids = {line["porf_id"] for line in order.lines}
            self._assert_within_limits(company, {of_id: company.requests[of_id] for of_id in porf_ids}, order)
            assert company.identity(done.json()["supplier_id"]) == order.supplier

    # Master data

    async def change_supplier(self, person: Person, supplier: Supplier, values: Json) -> None:
        done = await person.member.patch(f"/suppliers/{supplier.id}", etag="*", json=values)
        may = person.is_active and bool(person.roles & {Role.BUYER, Role.ADMIN})
        assert_outcome(done, "supplier_name_taken", may=may)
        if done.is_success:
            supplier.name, supplier.tax_id = done.json()["name"], done.json()["tax_id"]

    async def set_supplier_active(self, person: Person, supplier: Supplier, *, active: bool) -> None:
        path = f"/suppliers/{supplier.id}/{'activate' if active else 'deactivate'}"
        done = await person.member.post(path, etag="*")
        may = person.is_active and bool(person.roles & {Role.BUYER, Role.ADMIN})
        assert_outcome(done, "supplier_name_taken", may=may)

    async def change_settings(self, company: Company, person: Person, values: Json) -> None:
        done = await person.member.patch("/organisations/current", etag="*", json=values)
        assert_outcome(done, may=person.is_active and Role.ADMIN in person.roles)
        if done.is_success:
            company.tolerance = Decimal(done.json()["over_order_percent"])
            company.self_approval = done.json()["allow_self_approval"]

    async def change_rights(self, person: Person, other: Person, roles: set[Role], limit: Decimal | None) -> None:
        values = {"roles": sorted(roles), "approval_limit": None if limit is None else f"{limit:f}"}
        done = await person.member.patch(f"/users/{other.member.user_id}", etag="*", json=values)
        is_admin = person.is_active and Role.ADMIN in person.roles
        assert_outcome(done, "own_rights", "last_admin", may=is_admin)
        if done.is_success:
            other.roles, other.limit = roles, limit

    async def set_active(self, person: Person, other: Person, *, active: bool) -> None:
        path = f"/users/{other.member.user_id}/{'activate' if active else 'deactivate'}"
        done = await person.member.post(path, etag="*")
        assert_outcome(done, "last_admin", may=person.is_active and Role.ADMIN in person.roles)
        if done.is_success and active and not other.is_active:
            other.member = await with_new_session(_app_of(self.companies), other.member)
        if done.is_success:
            other.is_active = active

    # What holds at any time

    async def trespass(self, person: Person, elsewhere: Company) -> None:
        """Nothing of another organisation can be seen or used."""
        paths = [f"/suppliers/{supplier.id}" for supplier in elsewhere.suppliers]
        paths += [f"/porfs/{porf_id}" for porf_id in elsewhere.requests]
        paths += [f"/purchase-orders/{order_id}" for order_id in elsewhere.orders]
        for path in paths:
            hidden = 404 if person.is_active else 401
            assert (await person.member.get(path)).status_code == hidden
        supplier_id = elsewhere.suppliers[0].id
        made = await person.member.post("/porfs", json={"title": "x", "supplier_id": supplier_id})
        assert not made.is_success
        if elsewhere.requests:
            body = {"porf_ids": list(elsewhere.requests)[:1]}
            assert not (await person.member.post("/purchase-orders", json=body)).is_success

    async def assert_sees_own_only(self, company: Company, person: Person) -> None:
        """The lists have rows of the person's organisation only."""
        for path, own in (("/porfs", set(company.requests)), ("/purchase-orders", set(company.orders))):
            listed = await person.member.get(f"{path}?limit=100")
            assert listed.status_code == (200 if person.is_active else 401)
            if listed.is_success:
                assert {item["id"] for item in listed.json()["items"]} <= own

    async def assert_nothing_else_happened(self) -> None:
        """The database has the approvals and the orders of the model, and no other."""
        for company in self.companies:
            organisation_id = company.tenant.organisation_id
            approvals = await self._owner.fetch(
                "SELECT porf_id, count(*) AS number FROM approval_decisions"
                " WHERE organisation_id = $1 AND decision = 'approved' GROUP BY 1",
                organisation_id,
            )
            known = {request.id: request.approvals for request in company.requests.values() if request.approvals}
            assert {row["porf_id"]: row["number"] for row in approvals} == known
            orders = await self._owner.fetch(
                "SELECT id, supplier_name, supplier_tax_id, total, status = 'cancelled' AS is_cancelled"
                " FROM purchase_orders WHERE organisation_id = $1",
                organisation_id,
            )
            assert {row["id"]: tuple(row)[1:] for row in orders} == {
                order.id: (*order.supplier, order.total, order.is_cancelled) for order in company.orders.values()
            }

    async def look(self, person: Person, request: Request) -> httpx.Response:
        """The request as the person sees it."""
        return await person.member.get(f"/porfs/{request.id}")

    @staticmethod
    def assert_agrees(shown: httpx.Response, action: str, done: httpx.Response) -> None:
        """The outcome of an action is the one that the representation shows beforehand."""
        assert done.status_code < 500, done.text
        if not shown.is_success:
            # A role that is missing for all requests is noticed before.
            is_missing_role = not done.is_success and done.json()["code"] == "missing_role"
            assert shown.status_code == done.status_code or is_missing_role, (shown.text, done.text)
            return
        reason = shown.json()["allowed_actions"][action]["reason"]
        if done.is_success:
            assert reason is None, (action, reason)
        else:
            code = done.json()["code"]
            assert code == reason or (reason is None and code in _OF_BODIES), (action, reason, done.text)


def assert_outcome(done: httpx.Response, *codes: str, may: bool) -> None:
    """The step is accepted only if the person's role permits it; if it does, refused only for one of these reasons."""
    assert done.status_code < 500, done.text
    if done.is_success:
        assert may
    elif may:
        assert done.json()["code"] in {*codes, *_OF_BODIES}, done.text


def _shares(shown: list[httpx.Response], share: Decimal) -> Iterable[Json]:
    for item in shown:
        for line in item.json().get("lines", ()) if item.is_success else ():
            tolerance = Decimal(item.json()["over_order_percent"])
            most = Decimal(line["quantity"]) * (100 + tolerance) / 100 - Decimal(line["ordered_quantity"])
            if (quantity := (most * share).quantize(Decimal("0.0001"), ROUND_DOWN)) > 0:
                yield {"line_id": line["id"], "quantity": f"{quantity:f}"}


def _app_of(companies: list[Company]) -> Any:
    return companies[0].tenant.app
