"""What members read of orders, as the JSON that schemas.py describes."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from po_api.core.actor import Actor
from po_api.core.permissions import Role, Scope
from po_api.core.state_machine import explained
from po_api.db.json_sql import JsonDocument, with_fields
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.porfs.read_service import document
from po_api.purchase_orders import errors
from po_api.purchase_orders.domain import MACHINE, PurchaseOrderFacts, PurchaseOrderStatus
from po_api.purchase_orders.queries import PurchaseOrderFilters, PurchaseOrderQueries


class PurchaseOrderReadService:
    """The orders that a member may see, and what they hold; PurchaseOrderNotFound for all others."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._actor = actor
        self._queries = PurchaseOrderQueries(executor, actor)

    async def page(self, filters: PurchaseOrderFilters, request: PageRequest) -> PageOf[str]:
        """Summaries, in one query whatever the page's size."""
        page = await self._queries.page(filters, request)
        return PageOf([self._summary(row) for row in page.items], page.next_cursor)

    async def whole(self, order_id: int) -> JsonDocument:
        """An order with its lines."""
        row = _found(await self._queries.whole(order_id))
        return document(self._summary(row), row)

    async def header(self, order_id: int) -> Any:
        """The order's own columns."""
        return _found(await self._queries.header(order_id))

    async def content(self, order_id: int) -> Sequence[Any]:
        """The columns of the lines; the caller has seen that it may."""
        return await self._queries.content(order_id)

    async def document(self, order_id: int) -> Any:
        """`number`, `revision` and `content` of the document as it was issued; NotIssued before that."""
        row = _found(await self._queries.document(order_id))
        if row.content is None:
            raise errors.NotIssued
        return row

    def _summary(self, row: Any) -> str:
        allowed = _allowed_actions(row.status, self._actor.roles, self._actor.scopes)
        return with_fields(row.item, f'"allowed_actions":{allowed}')


def _found(row: Any) -> Any:
    if row is None:
        raise errors.PurchaseOrderNotFound
    return row


@lru_cache(maxsize=4096)
def _allowed_actions(status: str, roles: frozenset[Role], scopes: frozenset[Scope] | None) -> str:
    """For every action, whether it is allowed, as JSON: the guards look at nothing else."""
    facts = PurchaseOrderFacts(PurchaseOrderStatus(status))
    return explained(MACHINE.allowed_actions(facts, Actor(0, 0, roles, scopes=scopes)))
