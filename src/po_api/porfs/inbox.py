"""The inbox: the steps of pending requests that ask a member, or one who has delegated to them, now or later.

One list of three branches, each of which finds its steps by an index: pools of a role, pools of groups, and people.
Nothing is stored for it. Of active steps, it has the requests of the list with `waiting_for_me=true`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    func,
    literal_column,
    not_,
    select,
    true,
    union_all,
)

from po_api.approvals.domain import InboxState, RunStatus, StepStatus
from po_api.approvals.eligibility import may_decide
from po_api.approvals.models import ApprovalRun, ApprovalStep
from po_api.approvals.projections import PRINCIPALS, has_decided, is_asked, is_within_limit, members
from po_api.approvals.waiting import steps_that_may_ask
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission
from po_api.db.json_sql import columns_of, json_object, nested
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect, PlanCacheMode, QueryExecutor
from po_api.members.projections import member_name
from po_api.organisations.models import Organisation
from po_api.porfs.approval_projections import request_columns
from po_api.porfs.domain import PorfStatus
from po_api.porfs.models import Porf
from po_api.porfs.queries import Item

# Steps that were never active have no time yet: their ids ascend, too.
_ORDER = {InboxState.ACTIVE: "activated_at", InboxState.WAITING: "id"}
INBOX_SORTS = tuple(_ORDER.values())

_STEPS, _RUNS, _PORFS = ApprovalStep.__table__, ApprovalRun.__table__, Porf.__table__
_OF_STEP = (
    *("id", "run_id", "position", "status", "source", "stage", "name", "pool_role", "pool_group_id"),
    *("required_count", "enforce_limit", "activated_at"),
)


class _Waiting(NamedTuple):
    """The request of a step that waits for the member, and the member for whom they decide."""

    porf: FromClause
    principal: FromClause


def _waiting(listed: FromClause) -> tuple[_Waiting, AnySelect]:
    """The request of a step, and for whom the member may approve it: themselves, or else the first of the others."""
    # The conditions refer to a table of the statement that they are in.
    step = select(*listed.c[_OF_STEP]).correlate(listed).lateral("step")
    porf, principal, caller = _PORFS.alias("porf"), PRINCIPALS, members("caller")
    request, who = request_columns(porf), principal.columns
    of_run = and_(_RUNS.c.organisation_id == ORGANISATION_ID, _RUNS.c.id == step.c.run_id)
    of_porf = and_(porf.c.organisation_id == ORGANISATION_ID, porf.c.id == _RUNS.c.porf_id)
    joined = (
        _RUNS.join(porf, of_porf)
        .join(Organisation, Organisation.id == ORGANISATION_ID)
        .join(caller.table, and_(caller.table.c.organisation_id == ORGANISATION_ID, caller.columns.user_id == USER_ID))
        .join(principal.table, true())
    )
    found: AnySelect = (
        select(literal_column("1"))
        .select_from(step.join(joined, of_run))
        .where(
            _RUNS.c.status == RunStatus.OPEN,
            _RUNS.c.opened_at == porf.c.submitted_at,
            porf.c.status == PorfStatus.PENDING,
            may_decide(request, caller.columns),
            may_decide(request, who),
            is_within_limit(step, request, who),
            is_asked(step, who.user_id),
            not_(has_decided(step, USER_ID, who.user_id)),
        )
        .order_by(who.user_id != USER_ID, who.user_id)
        .limit(literal_column("1"))
        .correlate(listed)
    )
    return _Waiting(porf, principal.table), found


def _asks(listed: FromClause) -> ColumnElement[bool]:
    """Whether a step asks the member."""
    # A scalar subquery, not EXISTS: that would join all steps first.
    return _waiting(listed)[1].scalar_subquery().is_not(None)


def _asking(state: InboxState) -> FromClause:
    """The steps that ask the member: three lists in the same order, which are merged, so that a page ends with its last
    step."""
    order = tuple(dict.fromkeys((_ORDER[state], "id")))
    steps = steps_that_may_ask(StepStatus(state), *_OF_STEP)
    return union_all(
        # An index has all of them in order. Looked at one by one, they cost too much for PostgreSQL to sort them first.
        steps.by_role.where(_asks(_STEPS)).order_by(*_STEPS.c[order]),
        # These are sorted before they are looked at, as far as the page needs it.
        *(
            select(few).where(_asks(few)).order_by(*few.c[order])
            for few in (found.order_by(*_STEPS.c[order]).subquery() for found in (steps.by_group, steps.by_name))
        ),
    ).subquery("asking")


def _show(steps: FromClause) -> AnySelect:
    waiting, found = _waiting(steps)
    names = ("id", "number", "title", "requester_id", "currency", "total", "base_currency", "base_total", "version")
    porf = waiting.porf
    on_behalf_of = func.nullif(waiting.principal.c.user_id, USER_ID).label("on_behalf_of_id")
    row = found.with_only_columns(*porf.c[names], on_behalf_of).lateral("found")
    fields = {
        **columns_of(row, ("id", "number", "title", "requester_id")),
        "requester_name": member_name(row.c.requester_id),
        **columns_of(row, ("currency", "total", "base_currency", "base_total", "version")),
    }
    shown_porf, porf_text = json_object("waiting_porf", fields)
    item, text = json_object(
        "inbox_item",
        {
            "step_id": steps.c.id,
            "step_name": steps.c.name,
            **columns_of(steps, ("stage", "activated_at")),
            "on_behalf_of_id": row.c.on_behalf_of_id,
            "on_behalf_of_name": member_name(row.c.on_behalf_of_id),
            "porf": nested(porf_text),
        },
    )
    joined = steps.join(row, true()).join(shown_porf, true()).join(item, true())
    return select(text.label("item")).select_from(joined)


class _Inbox(NamedTuple):
    """The list of the steps in one state."""

    listing: Listing[Item]
    chosen: Callable[[], AnySelect]

    @classmethod
    def of(cls, state: InboxState) -> "_Inbox":
        asking, sort = _asking(state), _ORDER[state]
        listing = Listing(f"approvals.inbox_{state}", asking, Item, sorts=(sort,), default=sort, show=_show)
        return cls(listing, partial(select, asking))


_INBOXES = {state: _Inbox.of(state) for state in InboxState}


class InboxQueries:
    """Reads what asks a member: the actor, or any member with the right to read their rights."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor

    async def page(self, request: PageRequest, state: InboxState, *, user_id: int | None = None) -> PageOf[str]:
        """The steps that ask the actor, or the member with the id. Raises MissingRole."""
        if user_id is not None and user_id != self._actor.user_id:
            self._actor.require(Permission.USERS_READ_RIGHTS)
        elif not self._actor.may(Permission.PORFS_DECIDE):
            return PageOf([], None)
        who = {"organisation_id": self._actor.organisation_id, "user_id": user_id or self._actor.user_id}
        # Planning it takes longer than executing it.
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=PlanCacheMode.GENERIC)
        listing, chosen = _INBOXES[state]
        page = await listing.page(self._executor, chosen, request, {**who, "now": utc_now()})
        return PageOf([row.item for row in page.items], page.next_cursor)
