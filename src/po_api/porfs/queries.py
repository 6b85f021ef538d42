"""What is read of requests, as one member of one organisation may see them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    false,
    func,
    or_,
    select,
    true,
)

from po_api.audit.events import AuditEvent
from po_api.core.actor import Actor
from po_api.core.permissions import Role
from po_api.db.filters import condition, one_of
from po_api.db.json_sql import columns_of, json_array, json_object
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, USER_ID, PlanCacheMode, Query, QueryExecutor
from po_api.db.search import Search, spaced
from po_api.organisations.models import Organisation
from po_api.porfs.domain import PorfFacts, PorfStatus
from po_api.porfs.models import Porf, PorfComment, PorfLine
from po_api.porfs.projections import (
    APPROVAL_LIMIT,
    comment_item,
    event_item,
    line_item,
    line_object,
    of_porf,
    summary,
    with_facts,
)

SORTS = ("created_at", "updated_at", "number", "total")
LINE_SORTS = ("position",)
EVENT_SORTS = ("created_at",)

_PORFS, _LINES = Porf.__table__, PorfLine.__table__
_PORF_ID = bindparam("porf_id", type_=BigInteger)
_ANY_OF = ("status", "requester_id", "supplier_id", "currency", "cost_centre")


@dataclass(frozen=True)
class PorfFilters:
    """What a list of requests can be narrowed to; several values of one mean any of them, `_lt` excludes its bound."""

    status: Collection[PorfStatus] = ()
    requester_id: Collection[int] = ()
    supplier_id: Collection[int] = ()
    currency: Collection[str] = ()
    cost_centre: Collection[str] = ()
    bounds: Mapping[str, date | datetime] = field(default_factory=dict)
    q: str | None = None
    waiting_for_me: bool = False

    def given(self) -> dict[str, Any]:
        """The parameters that narrow the list."""
        given = dict(self.bounds)
        for name in _ANY_OF:
            if values := getattr(self, name):
                given |= one_of(name, values)
        return given if self.q is None else {**given, "q": self.q}


class Visibility(StrEnum):
    """Which requests a member may see."""

    ALL = "all"
    SUBMITTED = "submitted and own"
    OWN = "own"

    @classmethod
    def of(cls, actor: Actor) -> "Visibility":
        """Requesters see their own requests, approvers those that were put before them, the others all."""
        if actor.sees_all:
            return cls.ALL
        return cls.SUBMITTED if actor.has(Role.APPROVER) else cls.OWN


def visible(visibility: Visibility) -> ColumnElement[bool]:
    """What a member sees. The parameters are `organisation_id` and `user_id`: each statement starts from here."""
    mine = Porf.organisation_id == ORGANISATION_ID
    if visibility is Visibility.ALL:
        return mine
    own = Porf.requester_id == USER_ID
    # Once submitted, always visible to approvers: who loses a race is told so, not that there is nothing.
    return and_(mine, own if visibility is Visibility.OWN else or_(own, Porf.submitted_at.is_not(None)))


@dataclass(frozen=True)
class _Chosen:
    """The requests on a list: which conditions there are, but for the search. Their values are parameters."""

    visibility: Visibility
    narrowed_by: frozenset[str]
    waiting: bool
    is_approver: bool

    def __call__(self) -> Select[Any]:
        conditions = [condition(_PORFS, name) for name in sorted(self.narrowed_by)]
        statement = select(_PORFS).where(visible(self.visibility), *conditions)
        if not self.waiting:
            return statement
        return _waiting(statement) if self.is_approver else statement.where(false())


def _waiting(statement: Select[Any]) -> Select[Any]:
    """The requests that an approver could approve now; `approval_limit` None is no limit."""
    return statement.join(Organisation, Organisation.id == Porf.organisation_id).where(
        Porf.status == PorfStatus.PENDING,
        or_(Porf.requester_id != USER_ID, Organisation.allow_self_approval),
        or_(APPROVAL_LIMIT.is_(None), and_(Porf.total <= APPROVAL_LIMIT, Porf.currency == Organisation.currency)),
    )


def _words(porfs: FromClause) -> ColumnElement[str]:
    c = porfs.c
    return spaced(c.number, c.title, func.coalesce(c.cost_centre, ""), func.coalesce(c.justification, ""))


_SEARCH = Search(_PORFS, words=_words)
_LIST = Listing("porfs.list", _PORFS, sorts=SORTS, default="-created_at", show=summary, search=_SEARCH)
_LINE_LIST = Listing("porfs.lines", _LINES, sorts=LINE_SORTS, default="position", show=line_item)
_EVENT_LIST = Listing("porfs.history", AuditEvent.__table__, sorts=EVENT_SORTS, default="created_at", show=event_item)
_COMMENT_LIST = Listing(
    "porfs.comments", PorfComment.__table__, sorts=EVENT_SORTS, default="created_at", show=comment_item
)


def _lines_of_porf() -> Select[Any]:
    return select(_LINES).where(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == _PORF_ID)


def _events_of_porf() -> Select[Any]:
    return select(AuditEvent.__table__).where(
        AuditEvent.organisation_id == ORGANISATION_ID, AuditEvent.entity == "porf", AuditEvent.entity_id == _PORF_ID
    )


def _comments_of_porf() -> Select[Any]:
    return select(PorfComment.__table__).where(
        PorfComment.organisation_id == ORGANISATION_ID, PorfComment.porf_id == _PORF_ID
    )


def _visible_porf(visibility: Visibility) -> FromClause:
    return select(_PORFS).where(visible(visibility), Porf.id == _PORF_ID).subquery("porf")


@cache
def _whole(visibility: Visibility) -> Query:
    """One request: what a list shows of it, its details and its lines; rates and nets are what the taxes are of."""
    porf = _visible_porf(visibility)
    line, text = line_object(_LINES)
    content = (
        select(
            json_array(text, PorfLine.position).label("lines"),
            func.array_agg(PorfLine.tax_rate).label("rates"),
            func.array_agg(PorfLine.net).label("nets"),
        )
        .select_from(_LINES)
        .join(line, true())
        .where(of_porf(porf))
        .lateral("content")
    )
    details, details_text = json_object("details", columns_of(porf, ("justification", "tax_rounding")))
    statement = summary(porf).join(content, true()).join(details, true())
    return Query(
        "porfs.whole",
        statement.add_columns(*content.c, details_text.label("details")).add_columns(
            *(porf.c[name] for name in ("id", "version", "currency", "tax_rounding"))
        ),
    )


@cache
def _facts(visibility: Visibility) -> Query:
    return Query("porfs.facts", with_facts(_visible_porf(visibility)))


@cache
def _header(visibility: Visibility) -> Query:
    porf = _visible_porf(visibility)
    return Query("porfs.header", select(*porf.c))


@cache
def _one_line(visibility: Visibility) -> Query:
    """A line and its request's version; a request without that line has an `item` of None."""
    porf = _visible_porf(visibility)
    line, text = line_object(_LINES)
    found = (
        select(text.label("item"))
        .select_from(_LINES)
        .join(line, true())
        .where(of_porf(porf), PorfLine.id == bindparam("line_id", type_=BigInteger))
        .lateral("found")
    )
    return Query("porfs.line", select(porf.c.version, found.c.item).select_from(porf).outerjoin(found, true()))


_CONTENT = Query("porfs.content", _lines_of_porf().order_by(PorfLine.position))


class PorfQueries:
    """Named questions about one organisation's requests; each starts from what the member may see."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._visibility = Visibility.of(actor)
        self._who = {
            "organisation_id": actor.organisation_id,
            "user_id": actor.user_id,
            "approval_limit": actor.approval_limit,
        }

    async def page(self, filters: PorfFilters, request: PageRequest) -> PageOf[Any]:
        """Rows of `facts` and `item`."""
        given = filters.given()
        is_approver = self._actor.has(Role.APPROVER)
        chosen = _Chosen(self._visibility, frozenset(given) - {"q"}, filters.waiting_for_me, is_approver)
        return await self._page(
            _LIST,
            chosen,
            request,
            {**self._who, **given},
            plan_cache_mode=PlanCacheMode.CUSTOM if given else PlanCacheMode.GENERIC,
        )

    async def whole(self, porf_id: int) -> Any:
        """One row: `facts`, `item`, `details`, `lines` and what the taxes are of; None if there is none to be seen."""
        return await self._row(_whole(self._visibility), porf_id=porf_id)

    async def facts(self, porf_id: int) -> PorfFacts | None:
        """What the guards look at; None if there is no such request to be seen."""
        row = await self._row(_facts(self._visibility), porf_id=porf_id)
        return None if row is None else PorfFacts._make(row)

    async def header(self, porf_id: int) -> Any:
        """The request's own columns; None if there is none to be seen."""
        return await self._row(_header(self._visibility), porf_id=porf_id)

    async def content(self, porf_id: int) -> Sequence[Any]:
        """The columns of all lines in the order of their positions; the caller has seen that it may."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        return await self._executor.rows(_CONTENT, **self._who, porf_id=porf_id)

    async def line(self, porf_id: int, line_id: int) -> Any:
        """`item` and its request's `version`; None if there is no such request to be seen."""
        return await self._row(_one_line(self._visibility), porf_id=porf_id, line_id=line_id)

    async def lines_page(self, porf_id: int, request: PageRequest) -> PageOf[Any]:
        return await self._page(_LINE_LIST, _lines_of_porf, request, {**self._who, "porf_id": porf_id})

    async def history(self, porf_id: int, request: PageRequest) -> PageOf[Any]:
        return await self._page(_EVENT_LIST, _events_of_porf, request, {**self._who, "porf_id": porf_id})

    async def comments(self, porf_id: int, request: PageRequest) -> PageOf[Any]:
        return await self._page(_COMMENT_LIST, _comments_of_porf, request, {**self._who, "porf_id": porf_id})

    async def _page(
        self,
        listing: Listing,
        chosen: Any,
        request: PageRequest,
        parameters: Any,
        *,
        plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO,
    ) -> PageOf[Any]:
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=plan_cache_mode)
        return await listing.page(self._executor, chosen, request, parameters)

    async def _row(self, question: Query, **parameters: Any) -> Any:
        await self._executor.enter_tenant(self._actor.organisation_id)
        return await self._executor.row(question, **self._who, **parameters)
