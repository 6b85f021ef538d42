"""Reading the comments on orders and their files, as far as the member sees them.

A requester who sees a part of an order sees the comments that they have written or that mention them, with their files,
and the files that they have uploaded: others may be about the lines of others.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import BigInteger, and_, any_, bindparam, false, select
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.comments.identity import CommentedEntity, Document
from po_api.comments.queries import CommentQueries
from po_api.core.actor import Actor
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor
from po_api.files.domain import FileOwner, Place
from po_api.files.queries import FileQueries, FileRow
from po_api.porfs.models import Porf
from po_api.purchase_orders.errors import PurchaseOrderNotFound
from po_api.purchase_orders.models import PurchaseOrderLine
from po_api.purchase_orders.projections import hides_lines, lines_with_requests
from po_api.purchase_orders.queries import ORDER_ID, sees_all, visible_order


class _Sight(NamedTuple):
    hides_lines: bool


class _Requester(NamedTuple):
    requester_id: int


@cache
def _sight(*, sees_all: bool) -> Query[_Sight]:
    order = visible_order(sees_all=sees_all)
    hides = false() if sees_all else hides_lines(order)
    return Query("purchase_orders.sight", select(hides.label("hides_lines")).select_from(order), _Sight)


_REQUESTERS = Query(
    "purchase_orders.requesters",
    select(Porf.requester_id)
    .select_from(lines_with_requests())
    .where(
        and_(PurchaseOrderLine.organisation_id == ORGANISATION_ID, PurchaseOrderLine.purchase_order_id == ORDER_ID),
        Porf.requester_id == any_(bindparam("user_ids", type_=ARRAY(BigInteger))),
    )
    .distinct(),
    _Requester,
)


class OrderCollaborationQueries:
    """Reads the comments on orders that are visible to the member, and their files. Raises PurchaseOrderNotFound for
    other orders."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._comments = CommentQueries(executor, actor)
        self._files = FileQueries(executor, actor)

    async def sees_part(self, order_id: int) -> bool:
        """Whether the order has lines that the member does not see."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        who = {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id}
        found = await self._executor.row(_sight(sees_all=sees_all(self._actor)), **who, order_id=order_id)
        if found is None:
            raise PurchaseOrderNotFound
        return found.hides_lines

    async def comments(self, order_id: int, request: PageRequest) -> PageOf[str]:
        """The comments, oldest first, as JSON."""
        document, sees_part = Document(CommentedEntity.PURCHASE_ORDER, order_id), await self.sees_part(order_id)
        return await self._comments.page(document, request, only_addressed=sees_part)

    async def files(self, order_id: int, request: PageRequest) -> PageOf[str]:
        """The files of the order and of the comments on it, oldest first, as JSON."""
        place, sees_part = place_of(order_id), await self.sees_part(order_id)
        return await self._files.page(place, request, only_addressed=sees_part)

    async def file(self, order_id: int, file_id: int) -> FileRow:
        """A file of the order, or of a comment on it. Raises FileNotFound."""
        place, sees_part = place_of(order_id), await self.sees_part(order_id)
        return await self._files.get(place, file_id, only_addressed=sees_part)

    async def readers_among(self, order_id: int, members: Sequence[Actor]) -> set[int]:
        """The ids of those of some members who may see the order."""
        ids = {member.member_id for member in members if sees_all(member)}
        others = [member.member_id for member in members if member.member_id not in ids]
        if others:
            parameters = {"order_id": order_id, "user_ids": others}
            found = await self._executor.rows(_REQUESTERS, organisation_id=self._actor.organisation_id, **parameters)
            ids |= {row.requester_id for row in found}
        return ids


def place_of(order_id: int) -> Place:
    """Where the files of an order are."""
    return Place(FileOwner.PURCHASE_ORDER, order_id)
