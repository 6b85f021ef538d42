"""Reads what the documents of an order are made of."""

from po_api.core.actor import Actor
from po_api.core.parties import Language
from po_api.db.query import QueryExecutor
from po_api.organisations.queries import OrganisationQueries, OrganisationRow
from po_api.purchase_orders import errors
from po_api.purchase_orders.document_queries import OrderDocumentQueries, OrderSheetRow
from po_api.purchase_orders.documents import Source
from po_api.purchase_orders.electronic_order import ElectronicOrder, electronic_order_of
from po_api.purchase_orders.queries import OrderHeaderRow, PurchaseOrderQueries


class DocumentReader:
    """Reads orders that are visible to the member, in the executor's transaction."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._actor = actor
        self._queries = PurchaseOrderQueries(executor, actor)
        self._documents = OrderDocumentQueries(executor, actor)
        self._organisations = OrganisationQueries(executor)

    async def source(self, order_id: int) -> Source:
        """What an order's sheet is made of."""
        order, buyer = await self._header(order_id), await self._documents.buyer(order_id)
        return Source(order, buyer, await self._queries.content(order_id), buyer.approvals)

    async def electronic_order(self, order_id: int) -> ElectronicOrder:
        """What an electronic order is made of."""
        return await self._electronic_order(await self._header(order_id))

    async def addressed_order(self, order_id: int) -> ElectronicOrder | None:
        """What an electronic order is made of; None if buyer or supplier have no address for it."""
        order = await self._header(order_id)
        return await self._electronic_order(order) if order.has_endpoints else None

    async def sheet(self, order_id: int, revision: int) -> OrderSheetRow:
        """What a document is rendered from."""
        return await self._documents.sheet(order_id, revision)

    async def logo(self, organisation: OrganisationRow) -> bytes | None:
        """The organisation's logo as it is now."""
        return None if organisation.logo_digest is None else await self._organisations.logo(self._actor)

    async def _electronic_order(self, order: OrderHeaderRow) -> ElectronicOrder:
        source = await self._of(order)
        issued = await self._documents.locale(order.id, order.revision)
        if issued is None:
            return electronic_order_of(source, source.organisation.timezone, source.language)
        return electronic_order_of(source, issued.timezone, Language(issued.language or Language.ENGLISH))

    async def _header(self, order_id: int) -> OrderHeaderRow:
        order = await self._queries.header(order_id)
        if order is None:
            raise errors.PurchaseOrderNotFound
        return order

    async def _of(self, order: OrderHeaderRow) -> Source:
        organisation = await self._organisations.own(self._actor)
        return Source(order, organisation, await self._queries.content(order.id))
