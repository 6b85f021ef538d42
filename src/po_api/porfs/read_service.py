"""Representations of requests: the JSON that schemas.py describes."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from po_api.approvals.domain import Standing
from po_api.approvals.eligibility import exclusion
from po_api.comments.identity import CommentedEntity, Document
from po_api.comments.queries import CommentQueries
from po_api.core.actor import Actor
from po_api.core.money import TaxRounding, base_nets, taxes_by_rate
from po_api.core.offload import offload
from po_api.core.permissions import Permission, Role, Scope
from po_api.core.state_machine import explained, named
from po_api.core.text import plain
from po_api.db.filters import Filters
from po_api.db.json_sql import JsonDocument, with_fields
from po_api.db.pagination import Counts, PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.files.domain import FileOwner, Place
from po_api.files.queries import FileQueries, FileRow
from po_api.history.queries import NOTHING, HistoryQueries, Redaction
from po_api.porfs import errors
from po_api.porfs.domain import MACHINE, ON_STEPS, PorfFacts, PorfStatus
from po_api.porfs.queries import (
    DocumentRow,
    Item,
    PorfLineRow,
    PorfQueries,
    PorfRow,
)
from po_api.porfs.reduced_facts import ReducedFacts
from po_api.structure.domain import given_ids
from po_api.structure.queries import StructureQueries

# What comments said before they were edited or deleted is for those who read the audit trail.
_TEXTS = Redaction(frozenset({"text"}))


def redaction_for(actor: Actor) -> Redaction:
    """What the actor does not see of the events of requests."""
    return NOTHING if actor.may(Permission.AUDIT_READ) else _TEXTS


class LineCodes(NamedTuple):
    """The codes of categories and cost centres, by id."""

    categories: Mapping[int | None, str]
    cost_centres: Mapping[int | None, str]


class PorfReadService:
    """Reads the requests that are visible to the member, and their parts. Raises PorfNotFound for all others."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._actor = actor
        self._queries = PorfQueries(executor, actor)
        self._history = HistoryQueries(executor, actor)
        self._structure = StructureQueries(executor, actor)
        self._comments = CommentQueries(executor, actor)
        self._files = FileQueries(executor, actor)

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[str]:
        """Summaries, in one query whatever the page's size."""
        page = await self._queries.page(filters, request)
        # Most of the items have facts in common.
        actions = {facts: self._allowed_actions(facts, in_list=True) for facts in {row.facts for row in page.items}}
        return PageOf([with_fields(row.item, actions[row.facts]) for row in page.items], page.next_cursor)

    async def exported_page(self, filters: Filters, request: PageRequest) -> PageOf[str]:
        """The requests of a page of the list, with the fields of an export."""
        return _items(await self._queries.exported_page(filters, request))

    async def count(self, filters: Filters, *, limit: int) -> int:
        """The number of requests on the list, at most `limit`."""
        return await self._queries.count(filters, limit=limit)

    async def counts(self, filters: Filters, group_by: str) -> Counts:
        """How many requests there are for each value of a column."""
        return await self._queries.counts(filters, group_by)

    async def whole(self, porf_id: int) -> JsonDocument:
        """A request with its lines."""
        row = await self._queries.whole(porf_id)
        if row is None:
            raise errors.PorfNotFound
        summary = with_fields(row.item, self._allowed_actions(row.facts))
        return await offload(len(row.nets or ()), document, summary, row)

    async def lines_page(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        await self.header(porf_id)
        return _items(await self._queries.lines_page(porf_id, request))

    async def line(self, porf_id: int, line_id: int) -> JsonDocument:
        """A line, with the version of its request. Raises LineNotFound."""
        row = await self._queries.line(porf_id, line_id)
        if row is None:
            raise errors.PorfNotFound
        if row.item is None:
            raise errors.LineNotFound
        return JsonDocument(row.item, version=row.version, id=line_id)

    async def comments(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        await self.header(porf_id)
        return await self._comments.page(Document(CommentedEntity.PORF, porf_id), request)

    async def files(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        """The files of a request and of the comments on it."""
        await self.header(porf_id)
        return await self._files.page(Place(FileOwner.PORF, porf_id), request)

    async def file(self, porf_id: int, file_id: int) -> FileRow:
        """A file of a request, or of a comment on it. Raises FileNotFound."""
        await self.header(porf_id)
        return await self._files.get(Place(FileOwner.PORF, porf_id), file_id)

    async def history(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        """The events of a request, oldest first."""
        await self.header(porf_id)
        return await self._history.of("porf", porf_id, request, redaction_for(self._actor))

    async def approval(self, porf_id: int) -> str:
        """The last run of a request, as JSON. Raises ApprovalNotFound for one that was never submitted."""
        await self.header(porf_id)
        runs = await self._queries.approval_runs(porf_id, PageRequest(limit=1))
        if not runs.items:
            raise errors.ApprovalNotFound
        return runs.items[0].item

    async def approval_runs(self, porf_id: int, request: PageRequest) -> PageOf[str]:
        """The runs of a request."""
        await self.header(porf_id)
        return _items(await self._queries.approval_runs(porf_id, request))

    async def facts(self, porf_id: int) -> PorfFacts:
        """The facts for the guards."""
        facts = await self._queries.facts(porf_id)
        if facts is None:
            raise errors.PorfNotFound
        return facts

    async def no_approver(self, porf_id: int, facts: PorfFacts) -> errors.NoApprover:
        """The error for a draft that nobody may approve: how many could with a higher limit, and the highest one.

        Their names are for those who may see limits.
        """
        excluded = await self._queries.excluded_approvers(porf_id)
        shows_names = self._actor.covers(Permission.USERS_READ_RIGHTS)
        return errors.NoApprover(exclusion(facts, excluded, shows_names=shows_names))

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

    async def codes(self, lines: Sequence[PorfLineRow]) -> LineCodes:
        """The codes of what lines name."""
        return LineCodes(
            await self._structure.codes_of_categories(given_ids(line.category_id for line in lines)),
            await self._structure.codes_of_cost_centres(given_ids(line.cost_centre_id for line in lines)),
        )

    def _allowed_actions(self, facts: str, *, in_list: bool = False) -> str:
        """The field of a representation."""
        actor = self._actor
        has_limit = actor.approval_limit is not None
        allowed = allowed_actions(facts, actor.roles, actor.scopes, has_limit=has_limit, in_list=in_list)
        return f'"allowed_actions":{allowed}'


@lru_cache(maxsize=16384)
def allowed_actions(
    facts: str, roles: frozenset[Role], scopes: frozenset[Scope] | None, *, has_limit: bool, in_list: bool = False
) -> str:
    """`allowed_actions` as JSON for all requests and members with the same facts, roles, scopes and limit.

    `in_list`: only the names of those that are allowed, and none of the actions on steps, which a page would grow by.

    `facts` is the text of `ReducedFacts`, with few different values, so that the cache is effective: a page of
    fifty takes seven hundred evaluations of rules. A test compares the results with those of the table.
    """
    known = ReducedFacts.parse(facts)
    amount = Decimal(1 if known.standing in (Standing.LIMITED, Standing.LIMITED_BY_RULE) else 0)
    rate = None if known.lacks_rate else Decimal(1)
    request = PorfFacts(
        status=PorfStatus(known.status),
        requester_id=1 if known.is_own else 2,
        author_ids=(1,) if known.is_author else (),
        currency=known.currency,
        total=amount,
        over_order_percent=Decimal(0),
        maximum_total=amount,
        base_currency="",
        base_ceiling=None if known.lacks_ceiling else amount,
        has_rates=known.has_rates,
        base_rate=rate,
        base_rate_date=None,
        base_rate_id=None,
        allow_self_approval=known.allow_self_approval,
        allow_override=known.allow_override,
        line_count=int(known.has_lines),
        ordered=known.ordered,
        has_remaining=known.has_remaining,
        submitted=known.submitted,
        has_policy=False,
        has_approver=known.has_approver,
        standing=Standing(known.standing),
        supplier_is_active=known.supplier_is_active,
        supplier_hash=None,
        supplier_has_changed=known.supplier_has_changed,
    )
    member = Actor(0, 1, roles, Decimal(0) if has_limit else None, scopes)
    refusals = MACHINE.allowed_actions(request, member)
    if in_list:
        return named({action: refused for action, refused in refusals.items() if action not in ON_STEPS})
    return explained(refusals)


def document(summary: str, row: DocumentRow) -> JsonDocument:
    """A request or an order as a whole: its summary, the rest of `row`, and the taxes of its lines."""
    more = f'{row.details[1:-1]},"taxes":{_taxes_of(row)},"lines":[{",".join(_lines_of(row))}]'
    return JsonDocument(with_fields(summary, more), version=row.version, id=row.id)


def _lines_of(row: DocumentRow) -> Iterator[str]:
    """The lines with their nets in the base currency, as JSON."""
    lines, nets = row.lines or (), row.nets or ()
    if row.base_currency is None or row.base_rate is None or row.base_net is None:
        return (with_fields(line, '"base_net":null') for line in lines)
    shares = (
        nets if row.currency == row.base_currency else base_nets(nets, row.base_rate, row.base_net, row.base_currency)
    )
    return (with_fields(line, f'"base_net":"{share:f}"') for line, share in zip(lines, shares, strict=True))


def _taxes_of(row: DocumentRow) -> str:
    """The taxes by rate, as JSON."""
    lines = zip(row.rates or (), row.nets or (), strict=True)
    taxes = taxes_by_rate(lines, currency=row.currency, tax_rounding=TaxRounding(row.tax_rounding))
    shown = (f'{{"rate":"{plain(tax.rate)}","net":"{tax.net:f}","tax":"{tax.tax:f}"}}' for tax in taxes)
    return f"[{','.join(shown)}]"


def _items(page: PageOf[Item]) -> PageOf[str]:
    return PageOf([row.item for row in page.items], page.next_cursor)
