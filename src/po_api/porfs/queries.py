"""Reading requests, restricted to those that are visible to the member."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, FromClause, and_, bindparam, func, select, true

from po_api.approvals.eligibility import ExcludedApprovers
from po_api.approvals.queries import PlaceRow, places
from po_api.approvals.representations import RUNS, run_item
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission
from po_api.db.filters import Filters
from po_api.db.json_sql import in_order
from po_api.db.pagination import Counts, Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, PlanCacheMode, Query, QueryExecutor, R, columns_for
from po_api.db.search import Search, spaced
from po_api.porfs.approval_projections import excluded_approvers, request_columns
from po_api.porfs.content import ApprovedLine, PorfContent, PorfHeader
from po_api.porfs.domain import PorfFacts
from po_api.porfs.maximum import amounts_of
from po_api.porfs.models import Porf, PorfLine
from po_api.porfs.projections import (
    details_object,
    exported,
    fixed_base_amounts,
    line_facts,
    line_item,
    line_object,
    listed,
    of_member,
    of_porf,
    summary,
    with_facts,
)
from po_api.porfs.visibility import Chosen, Visibility, visible
from po_api.porfs.waiting import FEW, MAY_WAIT

SORTS = ("created_at", "updated_at", "number", "total")
LINE_SORTS = ("position",)
RUN_SORTS = ("run_no",)

_PORFS, _LINES = Porf.__table__, PorfLine.__table__
_PORF_ID = bindparam("porf_id", type_=BigInteger)


class Item(NamedTuple):
    """A representation, as JSON."""

    item: str


class PorfSummaryRow(NamedTuple):
    """The text of `ReducedFacts`, and the summary without the allowed actions as JSON."""

    facts: str
    item: str


@dataclass(frozen=True)
class DocumentRow:
    """The part of a request's or an order's representation that is not in its summary.

    `details` and each of the `lines` are JSON. The taxes are computed from `rates` and `nets`, and the lines' nets in
    the base currency from `nets` and the amounts of the document. All are in the lines' order; None without lines.
    """

    lines: Sequence[str] | None
    rates: Sequence[Decimal] | None
    nets: Sequence[Decimal] | None
    details: str
    id: int
    version: int
    currency: str
    tax_rounding: str
    base_currency: str | None
    base_rate: Decimal | None
    base_net: Decimal | None


@dataclass(frozen=True)
class PorfDocumentRow(DocumentRow):
    """A request as a whole; `facts` and `item` as in `PorfSummaryRow`."""

    facts: str
    item: str


@dataclass(frozen=True)
class PorfRow(PorfHeader):
    """A request's header."""

    number: str
    currency: str


@dataclass(frozen=True)
class LockedPorf(PorfContent):
    """A request that is locked until the transaction ends."""

    id: int
    number: str
    status: str
    requester_id: int
    author_ids: Sequence[int]
    approval_round: int
    submitted_at: datetime | None
    decided_at: datetime | None
    over_order_percent: Decimal | None
    maximum_total: Decimal | None
    net: Decimal
    total: Decimal
    base_currency: str | None
    base_rate: Decimal | None
    base_rate_date: date | None
    base_rate_id: int | None
    base_net: Decimal | None
    base_total: Decimal | None
    base_ceiling: Decimal | None
    version: int


@dataclass(frozen=True)
class PorfLineRow(ApprovedLine):
    """A request's line."""

    id: int
    porf_id: int
    net: Decimal
    ordered_quantity: Decimal
    closed_quantity: Decimal


class PorfLineItem(NamedTuple):
    """The version of a request, and one of its lines as JSON; `item` is None if it has no such line."""

    version: int
    item: str | None


def _words(porfs: FromClause) -> ColumnElement[str]:
    c = porfs.c
    return spaced(c.number, c.title, func.coalesce(c.cost_centre, ""), func.coalesce(c.justification, ""))


def _texts_of_lines(porfs: FromClause) -> AnySelect:
    of_porf = and_(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == porfs.c.id)
    return select(spaced(PorfLine.description, func.coalesce(PorfLine.sku, ""))).where(of_porf)


_SEARCH = Search(_PORFS, words=_words, lines=_texts_of_lines)
_LIST = Listing("porfs.list", _PORFS, PorfSummaryRow, sorts=SORTS, default="-created_at", show=listed, search=_SEARCH)
_EXPORT = Listing("porfs.export", _PORFS, Item, sorts=SORTS, default="-created_at", show=exported, search=_SEARCH)
_LINE_LIST = Listing("porfs.lines", _LINES, Item, sorts=LINE_SORTS, default="position", show=line_item)
_RUN_LIST = Listing("porfs.approval_runs", RUNS, Item, sorts=RUN_SORTS, default="-run_no", show=run_item)


_IS_LINE_OF_PORF = and_(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == _PORF_ID)


def _lines_of_porf() -> AnySelect:
    return select(_LINES).where(_IS_LINE_OF_PORF)


def _runs_of_porf() -> AnySelect:
    return select(RUNS).where(RUNS.c.organisation_id == ORGANISATION_ID, RUNS.c.porf_id == _PORF_ID)


def _visible_porf(visibility: Visibility) -> FromClause:
    return select(_PORFS).where(visible(visibility), Porf.id == _PORF_ID).subquery("porf")


@cache
def _whole(visibility: Visibility, *, shows_rights: bool) -> Query[PorfDocumentRow]:
    porf = _visible_porf(visibility)
    line, text = line_object(_LINES)
    content = (
        select(
            in_order(text, PorfLine.position).label("lines"),
            in_order(PorfLine.tax_rate, PorfLine.position).label("rates"),
            in_order(PorfLine.net, PorfLine.position).label("nets"),
            *line_facts(),
        )
        .select_from(_LINES)
        .join(line, true())
        .where(of_porf(porf))
        .lateral("content")
    )
    amounts = amounts_of(porf)
    details, details_text = details_object(porf, amounts, shows_rights=shows_rights)
    shown = summary(porf, content, amounts)
    own = porf.c["id", "version", "currency", "tax_rounding"]
    base = fixed_base_amounts(porf, "currency", "rate", "net").items()
    of_lines = content.c["lines", "rates", "nets"]
    columns = (*of_lines, details_text.label("details"), *own, *(column.label(name) for name, column in base))
    statement = shown.with_only_columns(*columns, *shown.selected_columns)
    return Query("porfs.whole", statement.join(details, true()), PorfDocumentRow, one_plan=True)


@cache
def _facts(visibility: Visibility) -> Query[PorfFacts]:
    return Query("porfs.facts", with_facts(_visible_porf(visibility)), PorfFacts, one_plan=True)


@cache
def _excluded_approvers(visibility: Visibility) -> Query[ExcludedApprovers]:
    return Query("porfs.excluded_approvers", excluded_approvers(_visible_porf(visibility)), ExcludedApprovers)


@cache
def _places(visibility: Visibility) -> Query[PlaceRow]:
    porf = _visible_porf(visibility)
    return Query("porfs.approval_places", places(porf, request_columns(porf)), PlaceRow, one_plan=True)


@cache
def _header(visibility: Visibility) -> Query[PorfRow]:
    return Query("porfs.header", select(*columns_for(PorfRow, _visible_porf(visibility))), PorfRow)


@cache
def _one_line(visibility: Visibility) -> Query[PorfLineItem]:
    porf = _visible_porf(visibility)
    line, text = line_object(_LINES)
    found = (
        select(text.label("item"))
        .select_from(_LINES)
        .join(line, true())
        .where(of_porf(porf), PorfLine.id == bindparam("line_id", type_=BigInteger))
        .lateral("found")
    )
    statement = select(porf.c.version, found.c.item).select_from(porf).outerjoin(found, true())
    return Query("porfs.line", statement, PorfLineItem)


_CONTENT = Query(
    "porfs.content",
    select(*columns_for(PorfLineRow, _LINES)).where(_IS_LINE_OF_PORF).order_by(PorfLine.position),
    PorfLineRow,
)


class PorfQueries:
    """Reads the requests of the actor's organisation that are visible to the member."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._visibility = Visibility.of(actor)

    @property
    def _who(self) -> dict[str, object]:
        """The parameters of all statements."""
        return {
            "organisation_id": self._actor.organisation_id,
            "user_id": self._actor.user_id,
            "approval_limit": self._actor.approval_limit,
            "now": utc_now(),
            **of_member(self._actor),
        }

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[PorfSummaryRow]:
        chosen, given = await self._chosen(filters, PlanCacheMode.GENERIC)
        return await _LIST.page(self._executor, chosen, request, given)

    async def exported_page(self, filters: Filters, request: PageRequest) -> PageOf[Item]:
        """A page of the list with the fields of an export."""
        chosen, given = await self._chosen(filters)
        return await _EXPORT.page(self._executor, chosen, request, given)

    async def counts(self, filters: Filters, group_by: str) -> Counts:
        """The numbers of visible requests for each value of a column."""
        chosen, given = await self._chosen(filters, PlanCacheMode.GENERIC)
        return await _LIST.counts(self._executor, chosen, group_by, given)

    async def count(self, filters: Filters, *, limit: int) -> int:
        """The number of requests on the list, at most `limit`."""
        chosen, given = await self._chosen(filters)
        return await _LIST.count(self._executor, chosen, given, limit=limit)

    async def whole(self, porf_id: int) -> PorfDocumentRow | None:
        """A request as a whole; None if it is not visible to the member."""
        shows_rights = self._actor.covers(Permission.USERS_READ_RIGHTS)
        query = _whole(self._visibility, shows_rights=shows_rights)
        # Its rows are found by keys, whatever their values; planning takes longer than executing it.
        return await self._row(query, porf_id=porf_id, plan_cache_mode=PlanCacheMode.GENERIC)

    async def facts(self, porf_id: int) -> PorfFacts | None:
        """The facts for the guards; None if the request is not visible to the member."""
        return await self._row(_facts(self._visibility), porf_id=porf_id)

    async def excluded_approvers(self, porf_id: int) -> ExcludedApprovers:
        """Why no member may approve a visible draft."""
        excluded = await self._row(_excluded_approvers(self._visibility), porf_id=porf_id)
        assert excluded is not None
        return excluded

    async def places(self, porf_id: int) -> Sequence[PlaceRow]:
        """Who may decide the open steps of a visible request now."""
        return await self._executor.rows(_places(self._visibility), **self._who, porf_id=porf_id)

    async def header(self, porf_id: int) -> PorfRow | None:
        """A request's header; None if it is not visible to the member."""
        return await self._row(_header(self._visibility), porf_id=porf_id)

    async def content(self, porf_id: int) -> Sequence[PorfLineRow]:
        """All lines of a visible request in the order of their positions."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        return await self._executor.rows(_CONTENT, **self._who, porf_id=porf_id)

    async def line(self, porf_id: int, line_id: int) -> PorfLineItem | None:
        """A line with the version of its request; None if the request is not visible to the member."""
        return await self._row(_one_line(self._visibility), porf_id=porf_id, line_id=line_id)

    async def lines_page(self, porf_id: int, request: PageRequest) -> PageOf[Item]:
        return await self._page(_LINE_LIST, _lines_of_porf, request, {"porf_id": porf_id})

    async def approval_runs(self, porf_id: int, request: PageRequest) -> PageOf[Item]:
        return await self._page(_RUN_LIST, _runs_of_porf, request, {"porf_id": porf_id})

    async def _chosen(
        self, filters: Filters, unfiltered: PlanCacheMode = PlanCacheMode.CUSTOM
    ) -> tuple[Chosen, dict[str, object]]:
        """Enters the tenant. The requests of a list, and the parameters of its statement, which is planned as in
        `unfiltered` if it has no filters."""
        given = filters.parameters()
        waiting = bool(given.pop("waiting_for_me", False))
        is_approver = self._actor.may(Permission.PORFS_DECIDE)
        plans = PlanCacheMode.CUSTOM if given else unfiltered
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=plans)
        if waiting and is_approver:
            given |= await self._may_wait()
        return Chosen(self._visibility, frozenset(given) - {"q"}, waiting, is_approver), {**self._who, **given}

    async def _may_wait(self) -> dict[str, object]:
        """The filter for the requests that may wait for the member, if they are few."""
        rows = await self._executor.rows(MAY_WAIT, **self._who)
        return {"id_any": [row.id for row in rows]} if len(rows) <= FEW else {}

    async def _page(
        self,
        listing: Listing[R],
        chosen: Callable[[], AnySelect],
        request: PageRequest,
        parameters: Mapping[str, object],
        *,
        plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO,
    ) -> PageOf[R]:
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=plan_cache_mode)
        return await listing.page(self._executor, chosen, request, {**self._who, **parameters})

    async def _row(
        self, query: Query[R], *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO, **parameters: object
    ) -> R | None:
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=plan_cache_mode)
        return await self._executor.row(query, **self._who, **parameters)
