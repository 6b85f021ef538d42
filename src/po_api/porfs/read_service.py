"""What members read of requests, as the JSON that schemas.py describes."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from json import loads

from po_api.core.actor import Actor
from po_api.core.money import TaxRounding, taxes_by_rate
from po_api.core.permissions import Role, Scope
from po_api.core.state_machine import explained
from po_api.db.json_sql import JsonDocument, plain, with_fields
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.porfs import errors
from po_api.porfs.domain import MACHINE, PorfFacts, PorfStatus
from po_api.porfs.queries import (
    DocumentRow,
    Item,
    PorfDocumentRow,
    PorfFilters,
    PorfLineRow,
    PorfQueries,
    PorfRow,
    PorfSummaryRow,
)


class PorfReadService:
    """The requests that a member may see, and their parts; PorfNotFound for all others."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._actor = actor
        self._queries = PorfQueries(executor, actor)

    async def page(self, filters: PorfFilters, request: PageRequest) -> PageOf[str]:
        """Summaries, in one query whatever the page's size."""
        page = await self._queries.page(filters, request)
        return PageOf([self._summary(row) for row in page.items], page.next_cursor)

    async def whole(self, porf_id: int) -> JsonDocument:
        """A request with its lines."""
        row = await self._queries.whole(porf_id)
        if row is None:
            raise errors.PorfNotFound
        return document(self._summary(row), row)

    async def lines_page(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        await self.header(porf_id)
        return _items(await self._queries.lines_page(porf_id, request))

    async def line(self, porf_id: int, line_id: int) -> JsonDocument:
        """A line, with its request's version; LineNotFound."""
        row = await self._queries.line(porf_id, line_id)
        if row is None:
            raise errors.PorfNotFound
        if row.item is None:
            raise errors.LineNotFound
        return JsonDocument(row.item, version=row.version, id=line_id)

    async def comments(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        await self.header(porf_id)
        return _items(await self._queries.comments(porf_id, request))

    async def history(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        """The events of a request, oldest first."""
        await self.header(porf_id)
        return _items(await self._queries.history(porf_id, request))

    async def facts(self, porf_id: int) -> PorfFacts:
        """What the guards look at."""
        facts = await self._queries.facts(porf_id)
        if facts is None:
            raise errors.PorfNotFound
        return facts

    async def header(self, porf_id: int) -> PorfRow:
        """A request's header."""
        header = await self._queries.header(porf_id)
        if header is None:
            raise errors.PorfNotFound
        return header

    async def content(self, porf_id: int) -> tuple[PorfRow, Sequence[PorfLineRow]]:
        """A request's header and its lines."""
        return await self.header(porf_id), await self.lines(porf_id)

    async def lines(self, porf_id: int) -> Sequence[PorfLineRow]:
        """The lines of a request that the caller has checked to be visible."""
        return await self._queries.content(porf_id)

    def _summary(self, row: PorfSummaryRow | PorfDocumentRow) -> str:
        actor = self._actor
        has_limit = actor.approval_limit is not None
        allowed = allowed_actions(row.facts, actor.roles, actor.scopes, has_limit=has_limit)
        return with_fields(row.item, f'"allowed_actions":{allowed}')


@lru_cache(maxsize=16384)
def allowed_actions(facts: str, roles: frozenset[Role], scopes: frozenset[Scope] | None, *, has_limit: bool) -> str:
    """For every action, whether such a member may do it now with such a request, as JSON.

    `facts` is what the guards make of facts and member, which is the same for many requests; a page of fifty takes
    seven hundred answers. A test compares them with those of the table for facts of all kinds.
    """
    seen = loads(facts)
    request = PorfFacts(
        status=PorfStatus(seen["status"]),
        requester_id=1 if seen["is_own"] else 2,
        currency="EUR",
        total=Decimal(0 if seen["within_limit"] else 1),
        base_currency="EUR" if seen["in_base_currency"] else "USD",
        allow_self_approval=seen["allow_self_approval"],
        line_count=int(seen["has_lines"]),
        ordered=seen["ordered"],
        orderable=seen["orderable"],
        submitted=seen["submitted"],
        has_approver=seen["has_approver"],
    )
    member = Actor(0, 1, roles, Decimal(0) if has_limit else None, scopes)
    return explained(MACHINE.allowed_actions(request, member))


def document(summary: str, row: DocumentRow) -> JsonDocument:
    """A request or an order as a whole: its summary, the rest of `row`, and the taxes of its lines."""
    more = f'{row.details[1:-1]},"taxes":{_taxes_of(row)},"lines":{row.lines}'
    return JsonDocument(with_fields(summary, more), version=row.version, id=row.id)


def _taxes_of(row: DocumentRow) -> str:
    """The taxes by rate, as JSON."""
    lines = zip(row.rates or (), row.nets or (), strict=True)
    taxes = taxes_by_rate(lines, currency=row.currency, tax_rounding=TaxRounding(row.tax_rounding))
    shown = (f'{{"rate":"{plain(tax.rate)}","net":"{tax.net:f}","tax":"{tax.tax:f}"}}' for tax in taxes)
    return f"[{','.join(shown)}]"


def _items(page: PageOf[Item]) -> PageOf[str]:
    return PageOf([row.item for row in page.items], page.next_cursor)
