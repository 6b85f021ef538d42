"""The rules without a database: properties of the table for any facts, remaining quantities of lines."""

from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import given

from po_api.approvals.domain import Standing
from po_api.core.actor import Actor
from po_api.core.errors import AppError, InvalidTransition
from po_api.core.money import MAX_AMOUNT
from po_api.core.permissions import Role
from po_api.porfs.amounts import net_of, totals_of
from po_api.porfs.domain import MACHINE, PorfAction, PorfFacts, PorfStatus, orderable, ordering_status, remaining
from po_api.porfs.errors import AmountTooLarge
from support.porf_facts import actors, facts


@dataclass(frozen=True)
class Line:
    """A line with the attributes that the rules use."""

    quantity: Decimal = Decimal(10)
    unit_price: Decimal = Decimal("24.90")
    discount_percent: Decimal = Decimal(0)
    tax_rate: Decimal = Decimal(20)
    ordered_quantity: Decimal = Decimal(0)
    closed_quantity: Decimal = Decimal(0)
    over_order_percent: Decimal = Decimal(0)


# The table.


@pytest.mark.heavy
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
def test_final_statuses_have_no_transitions(state: PorfFacts, actor: Actor) -> None:
    for final in (PorfStatus.CANCELLED, PorfStatus.CLOSED):
        allowed = MACHINE.allowed_actions(replace(state, status=final), actor)
        assert {action for action, refusal in allowed.items() if refusal is None} <= {PorfAction.COPY}


@given(facts, actors)
def test_who_only_audits_may_do_nothing(state: PorfFacts, actor: Actor) -> None:
    auditor = replace(actor, roles=frozenset({Role.AUDITOR}))
    assert None not in MACHINE.allowed_actions(state, auditor).values()


@given(facts, actors)
def test_an_approval_is_within_the_limit_and_not_of_the_approvers_own_request(state: PorfFacts, actor: Actor) -> None:
    if MACHINE.refusal(PorfAction.APPROVE, state, actor) is not None:
        return
    assert state.status is PorfStatus.PENDING
    assert Role.APPROVER in actor.roles
    assert state.allow_self_approval or actor.user_id not in {state.requester_id, *state.author_ids}
    # Which includes the limit, that of a member for whom they decide, or none.
    assert state.standing is Standing.DECIDES


@given(facts, actors)
def test_nothing_that_is_ordered_is_cancelled_or_reopened(state: PorfFacts, actor: Actor) -> None:
    for action in (PorfAction.CANCEL, PorfAction.REOPEN):
        assert MACHINE.refusal(action, replace(state, ordered=True), actor) is not None


@given(facts, actors)
def test_a_refusal_for_the_status_names_action_and_status(state: PorfFacts, actor: Actor) -> None:
    admin = replace(actor, roles=frozenset({Role.ADMIN}))
    state = replace(state, status=PorfStatus.CLOSED)
    with pytest.raises(InvalidTransition, match="submit is not possible while the status is closed"):
        MACHINE.require(PorfAction.SUBMIT, state, admin)


def test_the_status_after_an_action_is_the_one_it_names_or_stays() -> None:
    assert MACHINE.target(PorfAction.RECALL, PorfStatus.PENDING) is PorfStatus.DRAFT
    assert MACHINE.target(PorfAction.EDIT, PorfStatus.DRAFT) is PorfStatus.DRAFT


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
