"""The rules without a database: an order's state machine, and remaining quantities after allocations and releases."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from po_api.core.actor import Actor, MissingRole
from po_api.core.errors import InvalidTransition
from po_api.core.permissions import Role
from po_api.porfs.domain import PorfStatus, orderable, ordering_status, remaining
from po_api.purchase_orders.domain import MACHINE, PurchaseOrderAction, PurchaseOrderFacts, PurchaseOrderStatus
from po_api.suppliers.errors import SupplierChanged, SupplierInactive

# domain.md, "Purchase orders": the whole of it.
ALLOWED = {
    (PurchaseOrderAction.EDIT, PurchaseOrderStatus.DRAFT): None,
    (PurchaseOrderAction.ISSUE, PurchaseOrderStatus.DRAFT): PurchaseOrderStatus.ISSUED,
    (PurchaseOrderAction.CANCEL, PurchaseOrderStatus.DRAFT): PurchaseOrderStatus.CANCELLED,
    (PurchaseOrderAction.CANCEL, PurchaseOrderStatus.ISSUED): PurchaseOrderStatus.CANCELLED,
    (PurchaseOrderAction.CLOSE, PurchaseOrderStatus.ISSUED): PurchaseOrderStatus.CLOSED,
    (PurchaseOrderAction.DELIVER, PurchaseOrderStatus.ISSUED): None,
}
BUYER = Actor(1, 1, frozenset({Role.BUYER}))


def facts_of(status: PurchaseOrderStatus, **others: Any) -> PurchaseOrderFacts:
    """The facts of an order that nothing but its status and `others` prevents from being issued."""
    facts: dict[str, Any] = {"supplier_is_active": True, "supplier_has_changed": False, "currency": "EUR"}
    facts |= {"lacks_rate": False, "exceeds_approved": False}
    return PurchaseOrderFacts(status, **facts | others)


@pytest.mark.parametrize("action", PurchaseOrderAction)
@pytest.mark.parametrize("status", PurchaseOrderStatus)
def test_every_action_is_possible_in_its_states_only(action: PurchaseOrderAction, status: PurchaseOrderStatus) -> None:
    facts = facts_of(status)
    if (action, status) in ALLOWED:
        MACHINE.require(action, facts, BUYER)
        assert MACHINE.rules[action].target == ALLOWED[action, status]
    else:
        with pytest.raises(InvalidTransition, match=f"{action} is not possible while the status is {status}"):
            MACHINE.require(action, facts, BUYER)


@given(st.sampled_from(PurchaseOrderAction), st.sampled_from(PurchaseOrderStatus), st.frozensets(st.sampled_from(Role)))
def test_who_is_neither_buyer_nor_admin_does_nothing_in_any_state(
    action: PurchaseOrderAction, status: PurchaseOrderStatus, roles: frozenset[Role]
) -> None:
    refusal = MACHINE.refusal(action, facts_of(status), Actor(1, 1, roles))
    if roles.isdisjoint({Role.BUYER, Role.ADMIN}):
        assert refusal is MissingRole
    else:
        assert refusal is (None if (action, status) in ALLOWED else InvalidTransition)


@pytest.mark.parametrize("action", PurchaseOrderAction)
@pytest.mark.parametrize("status", PurchaseOrderStatus)
def test_only_issuing_requires_an_active_supplier(action: PurchaseOrderAction, status: PurchaseOrderStatus) -> None:
    with_active = MACHINE.refusal(action, facts_of(status), BUYER)
    refusal = MACHINE.refusal(action, facts_of(status, supplier_is_active=False), BUYER)
    is_issue = action is PurchaseOrderAction.ISSUE and status is PurchaseOrderStatus.DRAFT
    assert refusal is (SupplierInactive if is_issue else with_active)


@pytest.mark.parametrize("action", PurchaseOrderAction)
@pytest.mark.parametrize("status", PurchaseOrderStatus)
def test_only_issuing_requires_the_suppliers_identity(action: PurchaseOrderAction, status: PurchaseOrderStatus) -> None:
    refusal = MACHINE.refusal(action, facts_of(status, supplier_has_changed=True), BUYER)
    is_issue = action is PurchaseOrderAction.ISSUE and status is PurchaseOrderStatus.DRAFT
    assert refusal is (SupplierChanged if is_issue else MACHINE.refusal(action, facts_of(status), BUYER))


def decimals(smallest: str, largest: str) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(smallest), Decimal(largest), places=4, allow_nan=False, allow_infinity=False)


@dataclass
class Line:
    """The attributes that the rules use."""

    quantity: Decimal
    over_order_percent: Decimal = Decimal(0)
    ordered_quantity: Decimal = Decimal(0)
    closed_quantity: Decimal = Decimal(0)


@given(decimals("0.0001", "99999999999999.9999"), decimals("0", "999.9999"))
def test_the_tolerance_is_used_to_the_last_fourth_decimal_and_not_beyond(quantity: Decimal, percent: Decimal) -> None:
    most = orderable(Line(quantity, percent))
    exact = quantity * (100 + percent)
    assert most * 100 <= exact < (most + Decimal("0.0001")) * 100
    assert most >= remaining(Line(quantity, percent)) == quantity


class Ordering(RuleBasedStateMachine):
    """Random allocations and releases, compared with a model that consists of the orders only."""

    orders = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.lines = [Line(Decimal(10)), Line(Decimal("2.5"), Decimal("10"))]
        self.held: dict[int, dict[int, Decimal]] = {}

    @rule(target=orders, index=st.sampled_from([0, 1]), share=st.integers(1, 4))
    def take(self, index: int, share: int) -> int:
        line = self.lines[index]
        quantity = (orderable(line) * share / 4).quantize(Decimal("0.0001"))
        number = len(self.held)
        self.held[number] = {index: min(quantity, orderable(line))}
        line.ordered_quantity += self.held[number][index]
        return number

    @rule(target=orders)
    def take_all_that_is_left(self) -> int:
        number = len(self.held)
        self.held[number] = {index: remaining(line) for index, line in enumerate(self.lines)}
        for index, quantity in self.held[number].items():
            self.lines[index].ordered_quantity += quantity
        return number

    @rule(number=orders)
    def give_back(self, number: int) -> None:
        for index, quantity in self.held[number].items():
            self.lines[index].ordered_quantity -= quantity
        self.held[number] = {}

    def _held(self, index: int) -> Decimal:
        return sum((order.get(index, Decimal(0)) for order in self.held.values()), Decimal(0))

    @invariant()
    def what_is_held_stays_within_the_tolerance(self) -> None:
        for index, line in enumerate(self.lines):
            held = self._held(index)
            limit = line.quantity * (1 + line.over_order_percent / 100)
            assert held <= limit
            assert orderable(line) == limit - held
            assert remaining(line) == max(line.quantity - held, Decimal(0))

    @invariant()
    def the_status_follows_from_what_is_held(self) -> None:
        held = [self._held(index) for index in range(len(self.lines))]
        whole = all(got >= line.quantity for got, line in zip(held, self.lines, strict=True))
        expected = PorfStatus.ORDERED if whole else PorfStatus.PARTIALLY_ORDERED
        assert ordering_status(self.lines) == (expected if any(held) else PorfStatus.APPROVED)


TestOrdering: Any = Ordering.TestCase
TestOrdering.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
