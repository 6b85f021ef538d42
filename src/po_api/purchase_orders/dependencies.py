"""Dependencies of the purchase orders' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.external_references.dependencies import BY_EXTERNAL_ID
from po_api.organisations.dependencies import ListenersDep
from po_api.purchase_orders.collaboration import OrderCollaboration
from po_api.purchase_orders.collaboration_queries import OrderCollaborationQueries
from po_api.purchase_orders.document_service import Access, DocumentService
from po_api.purchase_orders.domain import OrderDeliveryStatus, PurchaseOrderStatus
from po_api.purchase_orders.queries import SORTS
from po_api.purchase_orders.read_service import PurchaseOrderReadService
from po_api.purchase_orders.service import PurchaseOrderService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of, unit_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, amounts, any_of, days, filters, moments, search
from po_api.web.schemas import Id, KnownCurrency, ShortText


async def _read_service(request: Request, principal: PrincipalDep) -> PurchaseOrderReadService:
    return PurchaseOrderReadService(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> PurchaseOrderService:
    return PurchaseOrderService(session_of(request), principal.actor())


async def _collaboration(request: Request, principal: PrincipalDep, listeners: ListenersDep) -> OrderCollaboration:
    return OrderCollaboration(session_of(request), principal.actor(), listeners)


async def _collaboration_queries(request: Request, principal: PrincipalDep) -> OrderCollaborationQueries:
    return OrderCollaborationQueries(executor_of(request), principal.actor())


async def _document_service(request: Request, principal: PrincipalDep) -> DocumentService:
    executor, database = unit_of(request).executor, request.app.state.database
    state = request.app.state
    return DocumentService(
        Access.of(executor, database), principal.actor(), state.renderings, is_filed=state.filing is not None
    )


_filters = filters(
    any_of("status", PurchaseOrderStatus, "Any of these statuses"),
    any_of("delivery_status", OrderDeliveryStatus, "Any of these statuses of the last delivery"),
    any_of("number", ShortText, "Any of these numbers"),
    any_of("supplier_id", Id, "Any of these suppliers"),
    any_of("created_by_id", Id, "Created by any of these members"),
    any_of("currency", KnownCurrency, "Any of these currencies"),
    any_of("cost_centre", ShortText, "With a line of any of these cost centres"),
    any_of("cost_centre_id", Id, "With a line of any of these cost centres"),
    any_of("category_id", Id, "With a line of any of these categories"),
    any_of("porf_id", Id, "Allocated from any of these requests"),
    any_of("requester_id", Id, "With a line of a request of any of these requesters"),
    *BY_EXTERNAL_ID,
    *CREATED_AT,
    *UPDATED_AT,
    *moments("issued_at"),
    *days("needed_by", "With a line that is needed then"),
    *amounts("total", "In the currency of each order"),
    search("The end of the number, or prefixes of words in number, supplier name and lines"),
)


PurchaseOrderReadServiceDep = Annotated[PurchaseOrderReadService, Depends(_read_service)]
DocumentServiceDep = Annotated[DocumentService, Depends(_document_service)]
OrderCollaborationDep = Annotated[OrderCollaboration, Depends(_collaboration)]
OrderCollaborationQueriesDep = Annotated[OrderCollaborationQueries, Depends(_collaboration_queries)]
PurchaseOrderServiceDep = Annotated[PurchaseOrderService, Depends(_service)]
PurchaseOrderFiltersDep = Annotated[Filters, Depends(_filters)]
PurchaseOrderPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
