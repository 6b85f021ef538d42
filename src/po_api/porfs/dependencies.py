"""Dependencies of the requests' handlers."""

from typing import Annotated

from fastapi import Depends, Query, Request

from po_api.db.pagination import PageRequest
from po_api.porfs.actions import PorfActions
from po_api.porfs.domain import PorfStatus
from po_api.porfs.queries import COMMENT_SORTS, LINE_SORTS, SORTS, PorfFilters
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.service import PorfService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.schemas import Id, IsoDate, KnownCurrency, Moment, Search, ShortText


async def _read_service(request: Request, principal: PrincipalDep) -> PorfReadService:
    return PorfReadService(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> PorfService:
    return PorfService(session_of(request), principal.actor())


async def _actions(request: Request, principal: PrincipalDep) -> PorfActions:
    return PorfActions(session_of(request), principal.actor())


async def _filters(
    status: Annotated[list[PorfStatus], Query(description="Any of these statuses")] = [],  # noqa: B006
    requester_id: Annotated[list[Id], Query(description="Any of these requesters")] = [],  # noqa: B006
    supplier_id: Annotated[list[Id], Query(description="Any of these suppliers")] = [],  # noqa: B006
    currency: Annotated[list[KnownCurrency], Query(description="Any of these currencies")] = [],  # noqa: B006
    cost_centre: Annotated[list[ShortText], Query(description="Any of these cost centres")] = [],  # noqa: B006
    created_at_gte: Annotated[Moment | None, Query(examples=["2026-01-01T00:00:00Z"])] = None,
    created_at_lt: Annotated[Moment | None, Query(examples=["2027-01-01T00:00:00Z"])] = None,
    updated_at_gte: Annotated[Moment | None, Query(examples=["2026-01-01T00:00:00Z"])] = None,
    updated_at_lt: Annotated[Moment | None, Query(examples=["2027-01-01T00:00:00Z"])] = None,
    needed_by_gte: Annotated[IsoDate | None, Query(examples=["2026-01-01"])] = None,
    needed_by_lt: Annotated[IsoDate | None, Query(examples=["2027-01-01"])] = None,
    q: Annotated[
        Search | None, Query(description="Prefixes of words in number, title, cost centre and justification")
    ] = None,
    waiting_for_me: Annotated[bool, Query(description="Only requests that the caller may approve now")] = False,
) -> PorfFilters:
    bounds = {
        "created_at_gte": created_at_gte,
        "created_at_lt": created_at_lt,
        "updated_at_gte": updated_at_gte,
        "updated_at_lt": updated_at_lt,
        "needed_by_gte": needed_by_gte,
        "needed_by_lt": needed_by_lt,
    }
    return PorfFilters(
        status=status,
        requester_id=requester_id,
        supplier_id=supplier_id,
        currency=currency,
        cost_centre=cost_centre,
        bounds={name: bound for name, bound in bounds.items() if bound is not None},
        q=q,
        waiting_for_me=waiting_for_me,
    )


PorfReadServiceDep = Annotated[PorfReadService, Depends(_read_service)]
PorfServiceDep = Annotated[PorfService, Depends(_service)]
PorfActionsDep = Annotated[PorfActions, Depends(_actions)]
PorfFiltersDep = Annotated[PorfFilters, Depends(_filters)]
PorfPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
LinePaging = Annotated[PageRequest, Depends(paging(*LINE_SORTS))]
CommentPaging = Annotated[PageRequest, Depends(paging(*COMMENT_SORTS))]
