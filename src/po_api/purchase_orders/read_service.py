"""Representations of orders: the JSON that schemas.py describes."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from json import dumps, loads

from po_api.core.actor import Actor
from po_api.core.offload import offload
from po_api.core.permissions import Permission, Role, Scope
from po_api.core.state_machine import explained, named
from po_api.db.filters import Filters
from po_api.db.json_sql import JsonDocument, with_fields
from po_api.db.pagination import Counts, PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.history.queries import NOTHING, HistoryQueries, Redaction
from po_api.porfs.read_service import document
from po_api.purchase_orders import errors
from po_api.purchase_orders.domain import MACHINE, PurchaseOrderFacts, PurchaseOrderStatus, warnings_about
from po_api.purchase_orders.queries import (
    CHANGEABLE,
    OrderDocumentRow,
    OrderLineRow,
    OrderSummaryRow,
    PurchaseOrderQueries,
    sees_all,
)

# An order may contain lines of several requests; requesters see their own requests only.
_AMOUNTS = {"net", "tax", "total", "base_net", "base_total"}
_COMMENTS_AND_FILES = {"comment_id", "text", "file_id", "file_name", "file_digest"}
_OF_OTHERS = Redaction(frozenset({"porfs", "lines", "line_id", *_AMOUNTS, *CHANGEABLE, *_COMMENTS_AND_FILES}))
# What comments said before they were edited or deleted is for those who read the audit trail.
_TEXTS = Redaction(frozenset({"text"}))


def redaction_for(actor: Actor) -> Redaction:
    """What the actor does not see of the events of orders."""
    if not sees_all(actor):
        return _OF_OTHERS
    return NOTHING if actor.may(Permission.AUDIT_READ) else _TEXTS


class PurchaseOrderReadService:
    """Reads the orders that are visible to the member, and their parts. Raises PurchaseOrderNotFound for others."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._actor = actor
        self._queries = PurchaseOrderQueries(executor, actor)
        self._history = HistoryQueries(executor, actor)

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[str]:
        """Summaries, in one query whatever the page's size."""
        page = await self._queries.page(filters, request)
        return PageOf([self._summary(row, in_list=True) for row in page.items], page.next_cursor)

    async def exported_page(self, filters: Filters, request: PageRequest) -> PageOf[str]:
        """The orders of a page of the list, without the allowed actions."""
        page = await self._queries.page(filters, request)
        return PageOf([row.item for row in page.items], page.next_cursor)

    async def count(self, filters: Filters, *, limit: int) -> int:
        """The number of orders on the list, at most `limit`."""
        return await self._queries.count(filters, limit=limit)

    async def counts(self, filters: Filters, group_by: str) -> Counts:
        """How many orders there are for each value of a column."""
        return await self._queries.counts(filters, group_by)

    async def whole(self, order_id: int) -> JsonDocument:
        """An order with its lines."""
        row = await self._queries.whole(order_id)
        if row is None:
            raise errors.PurchaseOrderNotFound
        shown = await offload(len(row.nets or ()), document, self._summary(row), row)
        warnings = warnings_about(
            PurchaseOrderStatus(row.status),
            tax_id=row.supplier_tax_id,
            address=row.supplier_address,
            currency=row.currency,
            supplier={} if row.parties is None else loads(row.parties)["supplier"],
        )
        text = dumps([warning._asdict() for warning in warnings], separators=(",", ":"))
        more = f'"parties":{row.parties or "null"},"warnings":{text}'
        return replace(shown, json=with_fields(shown.json, more))

    async def facts(self, order_id: int) -> PurchaseOrderFacts:
        """The facts for the guards."""
        facts = await self._queries.facts(order_id)
        if facts is None:
            raise errors.PurchaseOrderNotFound
        return facts

    async def content(self, order_id: int) -> Sequence[OrderLineRow]:
        """The lines of an order that the caller has checked to be visible."""
        return await self._queries.content(order_id)

    async def history(self, order_id: int, request: PageRequest) -> PageOf[str]:
        """The events of an order, oldest first."""
        await self.facts(order_id)
        return await self._history.of("purchase_order", order_id, request, redaction_for(self._actor))

    def _summary(self, row: OrderSummaryRow | OrderDocumentRow, *, in_list: bool = False) -> str:
        status = PurchaseOrderStatus(row.status)
        supplier = (row.supplier_is_active, row.supplier_has_changed)
        facts = PurchaseOrderFacts(status, *supplier, row.currency, row.lacks_rate, row.exceeds_approved)
        allowed = _allowed_actions(facts, self._actor.roles, self._actor.scopes, in_list=in_list)
        return with_fields(row.item, f'"allowed_actions":{allowed}')


@lru_cache(maxsize=4096)
def _allowed_actions(
    facts: PurchaseOrderFacts, roles: frozenset[Role], scopes: frozenset[Scope] | None, *, in_list: bool
) -> str:
    """`allowed_actions` as JSON, cached: the guards look at nothing but these parameters.

    `in_list`: only the names of those that are allowed.
    """
    return (named if in_list else explained)(MACHINE.allowed_actions(facts, Actor(0, 0, roles, scopes=scopes)))
