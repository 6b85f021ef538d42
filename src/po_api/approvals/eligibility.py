"""Who may approve a request: each condition as a predicate for one approver and, beside it, as SQL for many.

The guards of one actor use the predicates. The list `waiting_for_me` and the search for an eligible member of the
organisation use the SQL. A test compares both with generated requests and members.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, any_, false, func, not_, or_

from po_api.approvals.errors import ApproverInactive, LimitInOtherCurrency, OverApprovalLimit, OwnRequest
from po_api.core.actor import Actor, MissingRole
from po_api.core.errors import AppError
from po_api.core.permissions import Permission, Role, may
from po_api.core.text import plain

# The names in an explanation are examples.
_MOST_NAMES = 5


class ExcludedApprovers(NamedTuple):
    """The active members with the role `approver`, none of whom may approve a request, by the reason.

    `authors` may not decide on it; `limited`, the number of all others, have a limit that is too low, of which
    `highest_limit` is the highest. `names` are theirs, the highest limits first; None for none.
    """

    authors: int
    limited: int
    highest_limit: Decimal | None
    names: Sequence[str] | None


class Authored(Protocol):
    """The members who are authors of a request."""

    @property
    def requester_id(self) -> int: ...
    @property
    def author_ids(self) -> Collection[int]: ...


class Request(Authored, Protocol):
    """The attributes of a request and its organisation that the conditions and their explanations use.

    `base_ceiling` is `maximum_total` in the base currency, None for an unknown amount; `has_rates`: the organisation
    has exchange rates.
    """

    @property
    def currency(self) -> str: ...
    @property
    def total(self) -> Decimal: ...
    @property
    def over_order_percent(self) -> Decimal: ...
    @property
    def maximum_total(self) -> Decimal: ...
    @property
    def base_currency(self) -> str: ...
    @property
    def base_ceiling(self) -> Decimal | None: ...
    @property
    def has_rates(self) -> bool: ...
    @property
    def allow_self_approval(self) -> bool: ...


class MemberRights(Protocol):
    """The rights of a member, as they are stored."""

    @property
    def roles(self) -> Sequence[str]: ...

    @property
    def approval_limit(self) -> Decimal | None: ...

    @property
    def is_active(self) -> bool: ...


class Approver(NamedTuple):
    """The attributes of a member that the conditions use; `limit` is in the base currency, None is no limit."""

    user_id: int | None
    limit: Decimal | None
    has_role: bool
    is_active: bool

    @classmethod
    def of(cls, actor: Actor) -> "Approver":
        """The actor, who is active: the credentials of other members are not accepted."""
        return cls(actor.user_id, actor.approval_limit, actor.may(Permission.PORFS_DECIDE), is_active=True)

    @classmethod
    def of_member(cls, user_id: int, rights: MemberRights) -> "Approver":
        has_role = may(frozenset(map(Role, rights.roles)), Permission.PORFS_DECIDE)
        return cls(user_id, rights.approval_limit, has_role, rights.is_active)


class RequestColumns(NamedTuple):
    """A `Request` in SQL."""

    requester_id: SQLColumnExpression[int]
    author_ids: SQLColumnExpression[list[int]]
    base_ceiling: SQLColumnExpression[Decimal | None]
    has_rates: SQLColumnExpression[bool]
    allow_self_approval: SQLColumnExpression[bool]


class ApproverColumns(NamedTuple):
    """An `Approver` in SQL."""

    user_id: SQLColumnExpression[int]
    limit: SQLColumnExpression[Decimal]
    has_role: ColumnElement[bool]
    is_active: ColumnElement[bool]


@dataclass(frozen=True)
class Condition:
    """One condition in both forms, and the error if it does not hold."""

    refusal: type[AppError]
    holds: Callable[[Request, Approver], bool]
    sql: Callable[[RequestColumns, ApproverColumns], ColumnElement[bool]]


def authors_of(porf: Authored, *more: int | None) -> list[int]:
    """The authors of a request and `more`: who raised, edited or submitted it, and all its requesters.

    Nobody is ever removed. Actors that are no members (None) are left out.
    """
    return sorted({porf.requester_id, *porf.author_ids, *(user_id for user_id in more if user_id is not None)})


def _is_author(request: Request, approver: Approver) -> bool:
    # The version before revision 022, which may be running at the same time, writes the requester only.
    return approver.user_id == request.requester_id or approver.user_id in request.author_ids


def is_author(request: RequestColumns, user_id: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """`_is_author` in SQL."""
    return or_(user_id == request.requester_id, user_id == any_(request.author_ids))


_ACTIVE = Condition(
    ApproverInactive,
    lambda request, approver: approver.is_active,
    lambda request, approver: approver.is_active,
)
_HAS_ROLE = Condition(
    MissingRole,
    lambda request, approver: approver.has_role,
    lambda request, approver: approver.has_role,
)
_NOT_OWN = Condition(
    OwnRequest,
    lambda request, approver: request.allow_self_approval or not _is_author(request, approver),
    lambda request, approver: or_(request.allow_self_approval, not_(is_author(request, approver.user_id))),
)
_CURRENCY_OF_LIMIT = Condition(
    LimitInOtherCurrency,
    lambda request, approver: approver.limit is None or request.base_ceiling is not None or request.has_rates,
    lambda request, approver: or_(approver.limit.is_(None), request.base_ceiling.is_not(None), request.has_rates),
)
# An unknown amount is above every limit.
TOTAL_WITHIN_LIMIT = Condition(
    OverApprovalLimit,
    lambda request, approver: (
        approver.limit is None or (request.base_ceiling is not None and approver.limit >= request.base_ceiling)
    ),
    lambda request, approver: or_(
        approver.limit.is_(None), func.coalesce(approver.limit >= request.base_ceiling, false())
    ),
)

# The conditions of every decision, and those that an approval adds; the first that does not hold is the reason.
DECIDES = (_ACTIVE, _HAS_ROLE, _NOT_OWN)
WITHIN_LIMIT = (_CURRENCY_OF_LIMIT, TOTAL_WITHIN_LIMIT)
APPROVES = (*DECIDES, *WITHIN_LIMIT)


def refusal(conditions: Iterable[Condition], request: Request, approver: Approver) -> type[AppError] | None:
    """The error of the first condition that does not hold; None if all do."""
    return next((item.refusal for item in conditions if not item.holds(request, approver)), None)


def may_decide(request: RequestColumns, approver: ApproverColumns) -> ColumnElement[bool]:
    """The conditions of every decision in SQL."""
    return and_(*(condition.sql(request, approver) for condition in DECIDES))


def exclusion(request: Request, excluded: ExcludedApprovers, *, shows_names: bool) -> str:
    """The reason why no active member may approve the request, for people."""
    if not excluded.limited:
        if not excluded.authors:
            return "no active member has the role approver"
        return f"active approvers: {excluded.authors}, all of whom are authors of the request"
    names = f" ({_listed(excluded.names or ())})" if shows_names else ""
    is_known = request.base_ceiling is not None
    amount = _amount(request) if is_known else _own_amount(request)
    condition = "with a higher limit" if is_known else "without a limit, which another currency requires"
    return (
        f"active approvers who could approve {amount} {condition}:"
        f" {excluded.limited}{names}; the highest of their limits is {excluded.highest_limit:f} {request.base_currency}"
    )


def excess(request: Request, approver: Approver) -> str:
    """The reason why a limit that is too low does not permit the approval, for people."""
    return f"the limit of {approver.limit:f} {request.base_currency} does not permit {_amount(request)}"


def _amount(request: Request) -> str:
    return f"{_own_amount(request)}{_in_base_currency(request)}"


def _own_amount(request: Request) -> str:
    if not request.over_order_percent:
        return f"{request.total:f} {request.currency}"
    return (
        f"{request.maximum_total:f} {request.currency}"
        f" (the total of {request.total:f} with the tolerance of {plain(request.over_order_percent)} %)"
    )


def _in_base_currency(request: Request) -> str:
    if request.currency == request.base_currency:
        return ""
    if request.base_ceiling is None:
        return f", whose amount in {request.base_currency} is not known"
    return f", which is {request.base_ceiling:f} {request.base_currency}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def may_approve(request: RequestColumns, approver: ApproverColumns) -> list[ColumnElement[bool]]:
    """All conditions of an approval in SQL, for a WHERE."""
    return [condition.sql(request, approver) for condition in APPROVES]
