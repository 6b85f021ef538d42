"""Dependencies of the handlers about the organisation's structure."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.db.query import QueryExecutor, TransactionExecutor
from po_api.structure import queries
from po_api.structure.models import Category, CostCentre, Team
from po_api.structure.queries import (
    CODED_SORTS,
    NAMED_SORTS,
    ApprovalGroupRow,
    CategoryRow,
    CostCentreRow,
    DirectoryQueries,
    StructureQueries,
    TeamRow,
)
from po_api.structure.service import CATEGORY, COST_CENTRE, TEAM, ApprovalGroupService, EntryService
from po_api.web.cookies import SAFE_METHODS
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, Filter, any_of, filters, one, search
from po_api.web.schemas import Id, ShortText


def _executor(request: Request) -> QueryExecutor:
    """The result of a change is read in its transaction."""
    return executor_of(request) if request.method in SAFE_METHODS else TransactionExecutor(session_of(request))


async def _cost_centres(request: Request, principal: PrincipalDep) -> DirectoryQueries[CostCentreRow]:
    return DirectoryQueries(_executor(request), principal.actor(), queries.COST_CENTRES)


async def _categories(request: Request, principal: PrincipalDep) -> DirectoryQueries[CategoryRow]:
    return DirectoryQueries(_executor(request), principal.actor(), queries.CATEGORIES)


async def _teams(request: Request, principal: PrincipalDep) -> DirectoryQueries[TeamRow]:
    return DirectoryQueries(_executor(request), principal.actor(), queries.TEAMS)


async def _groups(request: Request, principal: PrincipalDep) -> DirectoryQueries[ApprovalGroupRow]:
    return DirectoryQueries(_executor(request), principal.actor(), queries.APPROVAL_GROUPS)


async def _structure(request: Request, principal: PrincipalDep) -> StructureQueries:
    return StructureQueries(_executor(request), principal.actor())


async def _cost_centre_service(request: Request, principal: PrincipalDep) -> EntryService[CostCentre]:
    return EntryService(session_of(request), principal.actor(), COST_CENTRE)


async def _category_service(request: Request, principal: PrincipalDep) -> EntryService[Category]:
    return EntryService(session_of(request), principal.actor(), CATEGORY)


async def _team_service(request: Request, principal: PrincipalDep) -> EntryService[Team]:
    return EntryService(session_of(request), principal.actor(), TEAM)


async def _group_service(request: Request, principal: PrincipalDep) -> ApprovalGroupService:
    return ApprovalGroupService(session_of(request), principal.actor())


_IS_ACTIVE = one("is_active", bool, "Only active or only deactivated ones")
_PARENTS: tuple[Filter, ...] = (
    any_of("parent_id", Id, "Directly below any of these"),
    one("has_parent", bool, "Only those below another one, or only those at the top"),
)
_cost_centre_filters = filters(
    _IS_ACTIVE,
    any_of("code", ShortText, "Any of these codes"),
    *_PARENTS,
    any_of("owner_id", Id, "Any of these owners"),
    one("owner_is_active", bool, "Only those whose owner is active, or inactive"),
    *CREATED_AT,
    *UPDATED_AT,
    search("Part of the code or the name", "facil"),
)
_category_filters = filters(
    _IS_ACTIVE,
    any_of("code", ShortText, "Any of these codes"),
    *_PARENTS,
    *CREATED_AT,
    *UPDATED_AT,
    search("Part of the code or the name", "office"),
)
_team_filters = filters(
    _IS_ACTIVE,
    *_PARENTS,
    any_of("lead_id", Id, "Any of these leads"),
    one("lead_is_active", bool, "Only those whose lead is active, or inactive"),
    *CREATED_AT,
    *UPDATED_AT,
    search("Part of the name", "design"),
)
_group_filters = filters(
    _IS_ACTIVE,
    one("member_id", Id, "With this member"),
    *CREATED_AT,
    *UPDATED_AT,
    search("Part of the name", "board"),
)

StructureQueriesDep = Annotated[StructureQueries, Depends(_structure)]
CodedPaging = Annotated[PageRequest, Depends(paging(*CODED_SORTS))]
NamedPaging = Annotated[PageRequest, Depends(paging(*NAMED_SORTS))]

CostCentreQueriesDep = Annotated[DirectoryQueries[CostCentreRow], Depends(_cost_centres)]
CostCentreServiceDep = Annotated[EntryService[CostCentre], Depends(_cost_centre_service)]
CostCentreFiltersDep = Annotated[Filters, Depends(_cost_centre_filters)]

CategoryQueriesDep = Annotated[DirectoryQueries[CategoryRow], Depends(_categories)]
CategoryServiceDep = Annotated[EntryService[Category], Depends(_category_service)]
CategoryFiltersDep = Annotated[Filters, Depends(_category_filters)]

TeamQueriesDep = Annotated[DirectoryQueries[TeamRow], Depends(_teams)]
TeamServiceDep = Annotated[EntryService[Team], Depends(_team_service)]
TeamFiltersDep = Annotated[Filters, Depends(_team_filters)]

ApprovalGroupQueriesDep = Annotated[DirectoryQueries[ApprovalGroupRow], Depends(_groups)]
ApprovalGroupServiceDep = Annotated[ApprovalGroupService, Depends(_group_service)]
ApprovalGroupFiltersDep = Annotated[Filters, Depends(_group_filters)]
