"""The rules of a purchase order request: its state machine, amounts and quantities."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from po_api.approvals import eligibility
from po_api.approvals import errors as refusals
from po_api.approvals.domain import Decision, Standing
from po_api.approvals.errors import AlreadyDecided, NotEligible, NotYourTurn, OverApprovalLimit, RunClosed
from po_api.core.actor import Actor, MissingRole
from po_api.core.currencies import CURRENCIES
from po_api.core.errors import AppError, InvalidTransition
from po_api.core.money import cut_quantity
from po_api.core.permissions import Permission
from po_api.core.state_machine import Guard, Rule, StateMachine
from po_api.exchange_rates.errors import RateMissing
from po_api.porfs import errors
from po_api.suppliers.errors import SupplierChanged, SupplierInactive


class PorfStatus(StrEnum):
    """The status of a purchase order request; `cancelled` and `closed` are final."""

    DRAFT = "draft"
    PENDING = "pending"
    APPROVED = "approved"
    PARTIALLY_ORDERED = "partially_ordered"
    ORDERED = "ordered"
    CLOSED = "closed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class PorfAction(StrEnum):
    """An action on a request."""

    EDIT = "edit"
    DELETE = "delete"
    SUBMIT = "submit"
    RECALL = "recall"
    RETURN = "return"
    APPROVE = "approve"
    REJECT = "reject"
    REVISE = "revise"
    CANCEL = "cancel"
    REOPEN = "reopen"
    CONVERT = "convert"
    CLOSE = "close"
    REASSIGN = "reassign"
    COPY = "copy"
    OVERRIDE = "override"
    ADD_APPROVER = "add_approver"
    REMOVE_APPROVER = "remove_approver"
    REASSIGN_STEP = "reassign_step"


@dataclass(frozen=True)
class PorfFacts:
    """The data that guards look at. `author_ids`: see `eligibility.authors_of`; `over_order_percent`, `maximum_total`:
    the tolerance, and what can be ordered at most (for drafts, with the tolerance that submitting would give them);
    `ordered`: a quantity is allocated to purchase orders; `has_remaining`: a quantity is neither ordered nor closed;
    `base_ceiling`: `maximum_total` in the base currency; `has_rates`: the organisation has exchange rates; `base_rate`,
    `base_rate_date`, `base_rate_id`: the rate that submitting would take (evaluated for drafts only);
    `has_policy`: an approval policy says who has to approve it (evaluated for drafts only); `has_approver`: an active
    member may approve the request if any approver may (evaluated for drafts only); `standing`: what the member may do
    about the approval, limits included (evaluated for pending requests only); `supplier_is_active`: true
    also without a supplier; `supplier_hash`: the identity of the supplier as of now; `supplier_has_changed`: it is not
    the approved one (evaluated where something can be ordered); `allow_override`: admins may approve against the
    rules."""

    status: PorfStatus
    requester_id: int
    author_ids: Collection[int]
    currency: str
    total: Decimal
    over_order_percent: Decimal
    maximum_total: Decimal
    base_currency: str
    base_ceiling: Decimal | None
    has_rates: bool
    base_rate: Decimal | None
    base_rate_date: date | None
    base_rate_id: int | None
    allow_self_approval: bool
    allow_override: bool
    line_count: int
    ordered: bool
    has_remaining: bool
    submitted: bool
    has_policy: bool
    has_approver: bool
    standing: Standing
    supplier_is_active: bool
    supplier_hash: str | None
    supplier_has_changed: bool


PorfGuard = Guard[PorfFacts]


def _requester(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """the requester"""
    if facts.requester_id != actor.user_id:
        return errors.NotRequester
    # Their roles may have changed since.
    return _raiser(facts, actor)


def _requester_or_admin(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """the requester or an admin"""
    return None if actor.may(Permission.PORFS_WRITE_ALL) else _requester(facts, actor)


def _approver(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """an approver; not an author of the request unless the organisation allows self-approval"""
    return eligibility.refusal(eligibility.DECIDES, facts, eligibility.Approver.of(actor))


def _buyer(_facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """a buyer or an admin"""
    return None if actor.may(Permission.PORFS_MANAGE) else MissingRole


def _orderer(_facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """a buyer or an admin"""
    return None if actor.may(Permission.PURCHASE_ORDERS_WRITE) else MissingRole


def _admin(_facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """an admin"""
    return None if actor.may(Permission.PORFS_WRITE_ALL) else MissingRole


def _involved(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """the requester, an approver, a buyer or an admin"""
    if actor.may(Permission.PORFS_MANAGE) or actor.may(Permission.PORFS_DECIDE):
        return None
    return _requester(facts, actor)


def _raiser(_facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """a requester, a buyer or an admin"""
    return None if actor.may(Permission.PORFS_WRITE) else MissingRole


def _canceller(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """the requester before approval, a buyer or an admin"""
    if facts.status in (PorfStatus.DRAFT, PorfStatus.PENDING) and _requester(facts, actor) is None:
        return None
    return _buyer(facts, actor)


def _has_lines(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """the request has at least one line"""
    return None if facts.line_count else errors.NoLines


def _has_eligible_approver(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """an active member may approve the request; with an approval policy, its rules find the people whom they ask for"""
    return None if facts.has_policy or facts.has_approver else errors.NoApprover


def _active_supplier(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """the supplier, if there is one, is active"""
    return None if facts.supplier_is_active else SupplierInactive


def _current_currency(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """the currency is not withdrawn"""
    return None if facts.currency in CURRENCIES else errors.CurrencyWithdrawn


def _has_rate(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """there is a recent exchange rate for another currency than the base currency, once the organisation has any"""
    return RateMissing if facts.base_rate is None and facts.has_rates else None


def _approved_supplier(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """the supplier, if there is one, has the identity that was approved"""
    return SupplierChanged if facts.supplier_has_changed else None


def _asked(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """an active step of the approval asks the approver, or a member who has delegated to them"""
    return _NOT_ASKED.get(facts.standing)


def _asked_if_approver(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """an approver who is none of the others: an active step asks them"""
    if actor.may(Permission.PORFS_MANAGE) or _requester(facts, actor) is None:
        return None
    return _approver(facts, actor) or _asked(facts, actor)


def _may_override(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """the organisation allows it"""
    return None if facts.allow_override else refusals.OverrideDisabled


def _no_author(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """the admin is not an author of the request"""
    return refusals.OwnRequest if actor.user_id in {facts.requester_id, *facts.author_ids} else None


def _within_limit(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """what can be ordered at most, the tolerance included, is within the limit of whom the step asks, in the base
    currency, if the step depends on it; without exchange rates, another currency requires an approver without a limit
    """
    if facts.standing not in (Standing.LIMITED, Standing.LIMITED_BY_RULE):
        return None
    own = eligibility.refusal(eligibility.WITHIN_LIMIT, facts, eligibility.Approver.of(actor))
    # Or that of the member for whom they decide.
    return own or OverApprovalLimit


def _within_limit_of_any_approver(facts: PorfFacts, actor: Actor) -> type[AppError] | None:
    """where no rule of an approval policy asks: likewise within the approver's limit"""
    return None if facts.standing == Standing.LIMITED_BY_RULE else _within_limit(facts, actor)


def _nothing_ordered(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """no quantity is allocated to a purchase order"""
    return errors.HasOrders if facts.ordered else None


def _something_left(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """a quantity remains to be ordered, the tolerance not counted"""
    return None if facts.has_remaining else errors.NothingLeft


def _never_submitted(facts: PorfFacts, _actor: Actor) -> type[AppError] | None:
    """the request was never submitted"""
    return errors.WasSubmitted if facts.submitted else None


def _rule(
    permission: Permission,
    sources: Iterable[PorfStatus],
    target: PorfStatus | None,
    who: PorfGuard,
    *guards: PorfGuard,
    elsewhere: type[AppError] = InvalidTransition,
) -> Rule[PorfStatus, PorfFacts]:
    return Rule(frozenset(sources), target, permission, who, guards, elsewhere)


def _on_steps(
    permission: Permission, sources: Iterable[PorfStatus], target: PorfStatus | None, who: PorfGuard, *guards: PorfGuard
) -> Rule[PorfStatus, PorfFacts]:
    """An action on the steps of the open approval. Whoever loses a race with its end is told of that."""
    return _rule(permission, sources, target, who, *guards, elsewhere=RunClosed)


# Actions on the steps of an approval: the request itself says whether they are allowed, lists do not.
ON_STEPS = frozenset(
    {PorfAction.OVERRIDE, PorfAction.ADD_APPROVER, PorfAction.REMOVE_APPROVER, PorfAction.REASSIGN_STEP}
)
NEW_ROUND = frozenset({PorfAction.REVISE, PorfAction.REOPEN})
DECISIONS = {
    PorfAction.APPROVE: Decision.APPROVED,
    PorfAction.REJECT: Decision.REJECTED,
    PorfAction.RETURN: Decision.RETURNED,
}

_D, _P, _A = PorfStatus.DRAFT, PorfStatus.PENDING, PorfStatus.APPROVED
_PARTLY, _ORDERED = PorfStatus.PARTIALLY_ORDERED, PorfStatus.ORDERED
_OPEN = frozenset(PorfStatus) - {PorfStatus.CANCELLED, PorfStatus.CLOSED}

_WRITE, _DECIDE = Permission.PORFS_WRITE, Permission.PORFS_DECIDE
_ADD = Permission.PORFS_ADD_APPROVERS
_MANAGE, _ORDER = Permission.PORFS_MANAGE, Permission.PURCHASE_ORDERS_WRITE

_SUBMITTABLE = (_has_lines, _active_supplier, _current_currency, _has_rate, _has_eligible_approver)
_CONVERTIBLE = (_something_left, _active_supplier, _current_currency, _approved_supplier)

_NOT_ASKED: dict[str, type[AppError]] = {
    Standing.WAITS: NotYourTurn,
    Standing.DECIDED: AlreadyDecided,
    Standing.NONE: NotEligible,
}

# The table of domain.md. Submitting and approving lead to pending or approved, as the steps of the approval say.
# A request with the status `ordered` can be closed as well, although nothing remains.
MACHINE: StateMachine[PorfStatus, PorfAction, PorfFacts] = StateMachine(
    {
        PorfAction.EDIT: _rule(_WRITE, [_D], None, _requester_or_admin),
        PorfAction.DELETE: _rule(_WRITE, [_D], None, _requester_or_admin, _never_submitted),
        PorfAction.SUBMIT: _rule(_WRITE, [_D], None, _requester_or_admin, *_SUBMITTABLE),
        PorfAction.RECALL: _rule(_WRITE, [_P], _D, _requester),
        PorfAction.RETURN: _rule(_DECIDE, [_P], _D, _approver, _asked, _within_limit_of_any_approver),
        PorfAction.APPROVE: _rule(_DECIDE, [_P], None, _approver, _asked, _within_limit),
        PorfAction.REJECT: _rule(_DECIDE, [_P], PorfStatus.REJECTED, _approver, _asked),
        PorfAction.REVISE: _rule(_WRITE, [PorfStatus.REJECTED], _D, _requester),
        PorfAction.CANCEL: _rule(_WRITE, [_D, _P, _A], PorfStatus.CANCELLED, _canceller, _nothing_ordered),
        PorfAction.REOPEN: _rule(_MANAGE, [_A], _D, _buyer, _nothing_ordered),
        PorfAction.CONVERT: _rule(_ORDER, [_A, _PARTLY, _ORDERED], None, _orderer, *_CONVERTIBLE),
        PorfAction.CLOSE: _rule(_MANAGE, [_A, _PARTLY, _ORDERED], PorfStatus.CLOSED, _buyer),
        PorfAction.REASSIGN: _rule(Permission.PORFS_WRITE_ALL, _OPEN, None, _admin),
        PorfAction.COPY: _rule(_WRITE, PorfStatus, None, _raiser, _current_currency),
        PorfAction.OVERRIDE: _on_steps(Permission.PORFS_WRITE_ALL, [_P], _A, _admin, _may_override, _no_author),
        PorfAction.ADD_APPROVER: _on_steps(_ADD, [_D, _P], None, _involved, _asked_if_approver),
        PorfAction.REMOVE_APPROVER: _on_steps(_ADD, [_D, _P], None, _involved),
        PorfAction.REASSIGN_STEP: _on_steps(Permission.PORFS_WRITE_ALL, [_P], None, _admin),
    },
)


class Quantities(Protocol):
    """The quantities of a line that are requested, allocated to purchase orders, and closed."""

    @property
    def quantity(self) -> Decimal: ...
    @property
    def ordered_quantity(self) -> Decimal: ...
    @property
    def closed_quantity(self) -> Decimal: ...


class Tolerated(Protocol):
    """A requested quantity with the tolerance: the percentage by which orders may exceed it."""

    @property
    def quantity(self) -> Decimal: ...
    @property
    def over_order_percent(self) -> Decimal: ...


class OrderableQuantities(Quantities, Tolerated, Protocol):
    """The quantities of a line with its tolerance."""


class StoredQuantities(Quantities, Protocol):
    """The quantities of a stored line."""

    @property
    def id(self) -> int: ...
    @property
    def porf_id(self) -> int: ...


class LineQuantities(NamedTuple):
    """The `StoredQuantities` of a line after a change."""

    id: int
    porf_id: int
    quantity: Decimal
    ordered_quantity: Decimal
    closed_quantity: Decimal

    @classmethod
    def of(
        cls, line: StoredQuantities, *, ordered: Decimal = Decimal(0), closed: Decimal = Decimal(0)
    ) -> "LineQuantities":
        """The quantities of `line` with these added to its ordered and closed quantities."""
        return cls(line.id, line.porf_id, line.quantity, line.ordered_quantity + ordered, line.closed_quantity + closed)


def remaining(line: Quantities) -> Decimal:
    """The quantity that is neither ordered nor closed; never negative."""
    left = line.quantity - line.ordered_quantity - line.closed_quantity
    return max(left, Decimal(0))


def largest_quantity(line: Tolerated) -> Decimal:
    """The quantity that may be ordered at most: the requested one plus the tolerance, cut to four decimals."""
    return cut_quantity(line.quantity * (1 + line.over_order_percent / 100))


def orderable(line: OrderableQuantities) -> Decimal:
    """The quantity that may still be ordered: the remaining one plus the tolerance; never negative."""
    return max(largest_quantity(line) - line.ordered_quantity - line.closed_quantity, Decimal(0))


def ordering_status(lines: Collection[Quantities]) -> PorfStatus:
    """The status that follows from the ordered quantities."""
    if not any(line.ordered_quantity for line in lines):
        return PorfStatus.APPROVED
    if any(remaining(line) for line in lines):
        return PorfStatus.PARTIALLY_ORDERED
    return PorfStatus.ORDERED
