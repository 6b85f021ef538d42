"""What members read of requests, as the JSON that schemas.py describes."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from json import dumps
from typing import Any

from po_api.core.money import TaxRounding, taxed
from po_api.core.pagination import PageOf, PageRequest
from po_api.core.reading import Reader
from po_api.core.representations import Shown, plain, with_fields
from po_api.core.state_machine import explained
from po_api.core.tenancy import Role, Scope, Tenant
from po_api.porfs import errors
from po_api.porfs.domain import MACHINE, PorfFacts
from po_api.porfs.queries import PorfFilters, PorfQueries

_FACTS = slice(len(PorfFacts._fields))


class PorfReading:
    """The requests that a member may see, and what they hold; PorfNotFound for all others."""

    def __init__(self, reader: Reader, tenant: Tenant) -> None:
        self._tenant = tenant
        self._queries = PorfQueries(reader, tenant)

    async def page(self, filters: PorfFilters, request: PageRequest) -> PageOf[str]:
        """Summaries, in one query whatever the page's size."""
        page = await self._queries.page(filters, request)
        return PageOf([self._summary(row) for row in page.items], page.next_cursor)

    async def whole(self, porf_id: int) -> Shown:
        """A request with its lines."""
        row = await self._queries.whole(porf_id)
        if row is None:
            raise errors.PorfNotFound
        taxes = taxes_of(row.rates, row.nets, currency=row.currency, tax_rounding=row.tax_rounding)
        more = f'{row.details[1:-1]},"taxes":{taxes},"lines":{row.lines}'
        return Shown(with_fields(self._summary(row), more), version=row.version, id=row.id)

    async def lines_page(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        await self.header(porf_id)
        return _items(await self._queries.lines_page(porf_id, request))

    async def line(self, porf_id: int, line_id: int) -> Shown:
        """A line, with its request's version; LineNotFound."""
        row = await self._queries.line(porf_id, line_id)
        if row is None:
            raise errors.PorfNotFound
        if row.item is None:
            raise errors.LineNotFound
        return Shown(row.item, version=row.version, id=line_id)

    async def comments(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        await self.header(porf_id)
        return _items(await self._queries.comments(porf_id, request))

    async def history(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        """What happened to a request, oldest first."""
        await self.header(porf_id)
        return _items(await self._queries.history(porf_id, request))

    async def facts(self, porf_id: int) -> PorfFacts:
        """What the guards look at."""
        facts = await self._queries.facts(porf_id)
        if facts is None:
            raise errors.PorfNotFound
        return facts

    async def header(self, porf_id: int) -> Any:
        """The request's own columns."""
        header = await self._queries.header(porf_id)
        if header is None:
            raise errors.PorfNotFound
        return header

    async def content(self, porf_id: int) -> tuple[Any, Sequence[Any]]:
        """The columns of a request, and those of its lines."""
        return await self.header(porf_id), await self.lines(porf_id)

    async def lines(self, porf_id: int) -> Sequence[Any]:
        """The columns of the lines; the caller has seen that it may."""
        return await self._queries.content(porf_id)

    def _summary(self, row: Any) -> str:
        allowed = allowed_actions(facts_of(row), self._tenant)
        return with_fields(row.item, f'"allowed_actions":{allowed}')


def facts_of(row: Any) -> PorfFacts:
    """The facts, with which the row begins."""
    return PorfFacts._make(row[_FACTS])


def allowed_actions(facts: PorfFacts, actor: Tenant) -> str:
    """For every action, whether `actor` may do it now, as JSON.

    Remembered by what the guards make of facts and actor: a page asks seven hundred times. A test compares it with the
    table for facts of all kinds.
    """
    limit = actor.approval_limit
    return _allowed_actions(
        actor.roles,
        actor.scopes,
        limit is not None,
        facts.requester_id == actor.user_id,
        facts.currency == facts.base_currency,
        limit is None or facts.total <= limit,
        facts.line_count > 0,
        (facts.status, facts.allow_self_approval, facts.ordered, facts.orderable, facts.submitted, facts.has_approver),
    )


@lru_cache(maxsize=16384)
def _allowed_actions(
    roles: frozenset[Role],
    scopes: frozenset[Scope] | None,
    has_limit: bool,
    is_own: bool,
    in_base_currency: bool,
    within_limit: bool,
    has_lines: bool,
    others: tuple[Any, bool, bool, bool, bool, bool],
) -> str:
    """The answer for some request and some member of whom all of this is true."""
    status, allow_self_approval, ordered, orderable, submitted, has_approver = others
    facts = PorfFacts(
        status=status,
        requester_id=1 if is_own else 2,
        currency="EUR",
        total=Decimal(0 if within_limit else 1),
        base_currency="EUR" if in_base_currency else "USD",
        allow_self_approval=allow_self_approval,
        line_count=int(has_lines),
        ordered=ordered,
        orderable=orderable,
        submitted=submitted,
        has_approver=has_approver,
    )
    actor = Tenant(0, 1, roles, Decimal(0) if has_limit else None, scopes)
    return explained(MACHINE.allowed_actions(facts, actor))


def taxes_of(
    rates: Sequence[Decimal] | None, nets: Sequence[Decimal] | None, *, currency: str, tax_rounding: str
) -> str:
    """The taxes of a document's lines by rate, as JSON; None is a document without lines."""
    lines = zip(rates or (), nets or (), strict=True)
    taxes = taxed(lines, currency=currency, tax_rounding=TaxRounding(tax_rounding)).taxes
    shown = [{"rate": plain(tax.rate), "net": f"{tax.net:f}", "tax": f"{tax.tax:f}"} for tax in taxes]
    return dumps(shown, separators=(",", ":"))


def _items(page: PageOf[Any]) -> PageOf[str]:
    return PageOf([row.item for row in page.items], page.next_cursor)
