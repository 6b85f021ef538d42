"""The rules without a database: what the table promises for any facts, what is left of lines, what was approved."""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from po_api.core.actor import Actor
from po_api.core.errors import AppError, InvalidTransition
from po_api.core.money import MAX_AMOUNT
from po_api.core.permissions import Role
from po_api.porfs.domain import (
    MACHINE,
    PorfAction,
    PorfFacts,
    PorfStatus,
    content_hash,
    net_of,
    orderable,
    ordering_status,
    remaining,
    totals_of,
)
from po_api.porfs.errors import AmountTooLarge
from support.porf_facts import actors, facts


@dataclass(frozen=True)
class Line:
    """A line as the rules look at it."""

    position: int = 1
    description: str = "Desk lamp"
    sku: str | None = None
    quantity: Decimal = Decimal(10)
    unit: str = "C62"
    unit_price: Decimal = Decimal("24.90")
    discount_percent: Decimal = Decimal(0)
    tax_rate: Decimal = Decimal(20)
    needed_by: date | None = None
    ordered_quantity: Decimal = Decimal(0)
    closed_quantity: Decimal = Decimal(0)
    over_order_percent: Decimal = Decimal(0)


@dataclass(frozen=True)
class Header:
    """A request as its hash looks at it."""

    title: str = "Lamps"
    justification: str | None = None
    cost_centre: str | None = None
    needed_by: date | None = None
    currency: str = "EUR"
    tax_rounding: str = "document"
    supplier_id: int | None = None


# The table.


@given(facts, actors)
def test_what_is_told_of_an_action_is_what_requiring_it_raises(state: PorfFacts, actor: Actor) -> None:
    for action, refusal in MACHINE.allowed_actions(state, actor).items():
        raised: type[AppError] | None = None
        try:
            MACHINE.require(action, state, actor)
        except AppError as error:
            raised = type(error)
        assert raised is refusal


@given(facts, actors)
def test_nobody_brings_a_final_request_back(state: PorfFacts, actor: Actor) -> None:
    for final in (PorfStatus.CANCELLED, PorfStatus.CLOSED):
        allowed = MACHINE.allowed_actions(state._replace(status=final), actor)
        assert {action for action, refusal in allowed.items() if refusal is None} <= {PorfAction.COPY}


@given(facts, actors)
def test_who_only_audits_may_do_nothing(state: PorfFacts, actor: Actor) -> None:
    auditor = replace(actor, roles=frozenset({Role.AUDITOR}))
    assert None not in MACHINE.allowed_actions(state, auditor).values()


@given(facts, actors)
def test_an_approval_is_within_the_limit_and_of_somebody_else_s_request(state: PorfFacts, actor: Actor) -> None:
    if MACHINE.refusal(PorfAction.APPROVE, state, actor) is not None:
        return
    assert state.status is PorfStatus.PENDING
    assert Role.APPROVER in actor.roles
    assert state.requester_id != actor.user_id or state.allow_self_approval
    limit = actor.approval_limit
    assert limit is None or (state.total <= limit and state.currency == state.base_currency)


@given(facts, actors)
def test_nothing_that_is_ordered_is_cancelled_or_reopened(state: PorfFacts, actor: Actor) -> None:
    for action in (PorfAction.CANCEL, PorfAction.REOPEN):
        assert MACHINE.refusal(action, state._replace(ordered=True), actor) is not None


def test_a_refusal_for_the_status_names_action_and_status() -> None:
    admin = Actor(1, 1, frozenset({Role.ADMIN}))
    state = PorfFacts(PorfStatus.CLOSED, 1, "EUR", Decimal(1), "EUR", False, 1, False, False, True, False)
    with pytest.raises(InvalidTransition, match="submit is not possible while the status is closed"):
        MACHINE.require(PorfAction.SUBMIT, state, admin)


# Quantities.


@pytest.mark.parametrize(
    ("ordered", "closed", "tolerance", "left", "allowed"),
    [
        ("0", "0", "0", "10", "10"),
        ("4", "0", "0", "6", "6"),
        ("4", "6", "0", "0", "0"),
        ("10", "0", "0", "0", "0"),
        ("10", "0", "10", "0", "1"),
        ("10.5", "0", "10", "0", "0.5"),
        ("11", "0", "10", "0", "0"),
        ("0", "0", "0.0001", "10", "10"),
        ("0", "0", "0.0019", "10", "10.0001"),
    ],
)
def test_what_is_left_and_what_may_be_ordered(
    ordered: str, closed: str, tolerance: str, left: str, allowed: str
) -> None:
    line = Line(
        ordered_quantity=Decimal(ordered), closed_quantity=Decimal(closed), over_order_percent=Decimal(tolerance)
    )
    assert (remaining(line), orderable(line)) == (Decimal(left), Decimal(allowed))


@pytest.mark.parametrize(
    ("ordered", "status"),
    [
        (("0", "0"), PorfStatus.APPROVED),
        (("0.0001", "0"), PorfStatus.PARTIALLY_ORDERED),
        (("10", "0"), PorfStatus.PARTIALLY_ORDERED),
        (("10", "9.9999"), PorfStatus.PARTIALLY_ORDERED),
        (("10", "10"), PorfStatus.ORDERED),
        (("11", "10"), PorfStatus.ORDERED),
    ],
)
def test_the_status_follows_from_what_is_ordered(ordered: tuple[str, str], status: PorfStatus) -> None:
    assert ordering_status([Line(ordered_quantity=Decimal(quantity)) for quantity in ordered]) is status


# Amounts.


def test_what_no_document_can_carry_is_refused() -> None:
    largest = Line(quantity=Decimal(1), unit_price=MAX_AMOUNT.quantize(Decimal("0.01"), "ROUND_DOWN"))
    assert net_of(largest, "EUR") == largest.unit_price
    with pytest.raises(AmountTooLarge):
        net_of(largest, "JPY")  # rounded up
    with pytest.raises(AmountTooLarge):
        totals_of([largest], currency="EUR", tax_rounding="document")  # with its tax


# The hash of what was approved.


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Lamp"},
        {"justification": ""},
        {"cost_centre": "1"},
        {"needed_by": date(2030, 1, 1)},
        {"currency": "USD"},
        {"tax_rounding": "line"},
        {"supplier_id": 1},
    ],
)
def test_the_hash_covers_every_field_of_the_header(change: dict[str, Any]) -> None:
    assert content_hash(replace(Header(), **change), [Line()]) != content_hash(Header(), [Line()])


@pytest.mark.parametrize(
    "change",
    [
        {"position": 2},
        {"description": "Desk lamp "},
        {"sku": ""},
        {"quantity": Decimal("10.0001")},
        {"unit": "KGM"},
        {"unit_price": Decimal("24.91")},
        {"discount_percent": Decimal("0.0001")},
        {"tax_rate": Decimal(19)},
        {"needed_by": date(2030, 1, 1)},
    ],
)
def test_the_hash_covers_every_field_of_a_line(change: dict[str, Any]) -> None:
    assert content_hash(Header(), [replace(Line(), **change)]) != content_hash(Header(), [Line()])


def test_the_hash_covers_number_and_order_of_lines() -> None:
    one, two = Line(sku="1"), Line(sku="2")
    assert len({content_hash(Header(), lines) for lines in ([], [one], [one, two], [two, one], [one, one])}) == 5


def test_the_hash_does_not_depend_on_how_a_number_is_written_or_on_what_was_ordered() -> None:
    same = Line(
        quantity=Decimal("10.0000"),
        unit_price=Decimal("24.9"),
        discount_percent=Decimal("0.0000"),
        tax_rate=Decimal("2E+1"),
        ordered_quantity=Decimal(4),
        closed_quantity=Decimal(1),
    )
    assert content_hash(Header(), [same]) == content_hash(Header(), [Line()])
