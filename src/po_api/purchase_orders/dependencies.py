"""Dependencies of the purchase orders' handlers."""

from typing import Annotated

from fastapi import Depends, Query, Request

from po_api.db.pagination import PageRequest
from po_api.purchase_orders.document_service import Access, DocumentService
from po_api.purchase_orders.domain import PurchaseOrderStatus
from po_api.purchase_orders.queries import SORTS, PurchaseOrderFilters
from po_api.purchase_orders.read_service import PurchaseOrderReadService
from po_api.purchase_orders.service import PurchaseOrderService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of, unit_of
from po_api.web.schemas import Id, KnownCurrency, Moment, Search, ShortText


async def _read_service(request: Request, principal: PrincipalDep) -> PurchaseOrderReadService:
    return PurchaseOrderReadService(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> PurchaseOrderService:
    return PurchaseOrderService(session_of(request), principal.actor())


async def _document_service(request: Request, principal: PrincipalDep) -> DocumentService:
    executor, database = unit_of(request).executor, request.app.state.database
    access = Access(executor, executor.close, database.sessions.begin)
    return DocumentService(access, principal.actor(), request.app.state.renderings)


async def _filters(
    status: Annotated[list[PurchaseOrderStatus], Query(description="Any of these statuses")] = [],  # noqa: B006
    supplier_id: Annotated[list[Id], Query(description="Any of these suppliers")] = [],  # noqa: B006
    currency: Annotated[list[KnownCurrency], Query(description="Any of these currencies")] = [],  # noqa: B006
    number: Annotated[list[ShortText], Query(description="Any of these numbers")] = [],  # noqa: B006
    porf_id: Annotated[list[Id], Query(description="Allocated from any of these requests")] = [],  # noqa: B006
    cost_centre: Annotated[list[ShortText], Query(description="With a line of any of these cost centres")] = [],  # noqa: B006
    created_at_gte: Annotated[Moment | None, Query(examples=["2026-01-01T00:00:00Z"])] = None,
    created_at_lt: Annotated[Moment | None, Query(examples=["2027-01-01T00:00:00Z"])] = None,
    issued_at_gte: Annotated[Moment | None, Query(examples=["2026-01-01T00:00:00Z"])] = None,
    issued_at_lt: Annotated[Moment | None, Query(examples=["2027-01-01T00:00:00Z"])] = None,
    q: Annotated[Search | None, Query(description="Prefixes of words in number and supplier name")] = None,
) -> PurchaseOrderFilters:
    bounds = {
        "created_at_gte": created_at_gte,
        "created_at_lt": created_at_lt,
        "issued_at_gte": issued_at_gte,
        "issued_at_lt": issued_at_lt,
    }
    return PurchaseOrderFilters(
        status=status,
        supplier_id=supplier_id,
        currency=currency,
        number=number,
        porf_id=porf_id,
        cost_centre=cost_centre,
        bounds={name: bound for name, bound in bounds.items() if bound is not None},
        q=q,
    )


PurchaseOrderReadServiceDep = Annotated[PurchaseOrderReadService, Depends(_read_service)]
DocumentServiceDep = Annotated[DocumentService, Depends(_document_service)]
PurchaseOrderServiceDep = Annotated[PurchaseOrderService, Depends(_service)]
PurchaseOrderFiltersDep = Annotated[PurchaseOrderFilters, Depends(_filters)]
PurchaseOrderPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
