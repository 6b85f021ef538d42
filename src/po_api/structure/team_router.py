"""/teams"""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.structure.dependencies import (
    NamedPaging,
    TeamFiltersDep,
    TeamQueriesDep,
    TeamServiceDep,
)
from po_api.structure.queries import TeamRow
from po_api.structure.schemas import TeamCreate, TeamPage, TeamRead, TeamUpdate
from po_api.web.dependencies import DryRun, link_next, page_of_json
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/teams", tags=["teams"])

TeamId = Annotated[int, Path(ge=1, le=MAX_ID)]
_CHANGING = problems(403, 404, 409, 412, 428)


def _read(response: Response, row: TeamRow) -> TeamRead:
    set_version(response, row.version)
    return TeamRead.model_validate(row)


@router.get(
    "",
    operation_id="listTeams",
    summary="List teams",
    responses=problems(403),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def list_teams(
    request: Request,
    response: Response,
    teams: TeamQueriesDep,
    filters: TeamFiltersDep,
    paging: NamedPaging,
) -> TeamPage:
    page = await teams.page(filters, paging)
    items = [TeamRead.model_validate(row) for row in page.items]
    return TeamPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="createTeam",
    summary="Add a team",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def create_team(
    response: Response,
    service: TeamServiceDep,
    teams: TeamQueriesDep,
    body: TeamCreate,
) -> TeamRead:
    """Add a team. Requires the role `admin`."""
    team_id = await service.create(body.model_dump())
    response.headers["Location"] = f"/api/v1/teams/{team_id}"
    return _read(response, await teams.get(team_id))


@router.get(
    "/{team_id}",
    operation_id="getTeam",
    summary="Get a team",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def get_team(response: Response, teams: TeamQueriesDep, team_id: TeamId) -> TeamRead:
    return _read(response, await teams.get(team_id))


@router.patch(
    "/{team_id}",
    operation_id="updateTeam",
    summary="Update a team",
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def update_team(
    response: Response,
    service: TeamServiceDep,
    teams: TeamQueriesDep,
    team_id: TeamId,
    expected: IfMatch,
    body: TeamUpdate,
) -> TeamRead:
    """Update a team. Requires the role `admin`."""
    await service.update(team_id, expected=expected, values=body.model_dump())
    return _read(response, await teams.get(team_id))


@router.post(
    "/{team_id}/deactivate",
    operation_id="deactivateTeam",
    summary="Deactivate a team",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def deactivate_team(
    response: Response,
    service: TeamServiceDep,
    teams: TeamQueriesDep,
    team_id: TeamId,
    expected: IfMatch,
    dry_run: DryRun,
) -> TeamRead:
    """Deactivate a team: nothing new refers to it; none below it may be active. Requires the role `admin`."""
    await service.set_active(team_id, active=False, expected=expected)
    return _read(response, await teams.get(team_id))


@router.post(
    "/{team_id}/activate",
    operation_id="activateTeam",
    summary="Reactivate a team",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def activate_team(
    response: Response,
    service: TeamServiceDep,
    teams: TeamQueriesDep,
    team_id: TeamId,
    expected: IfMatch,
    dry_run: DryRun,
) -> TeamRead:
    """Reactivate a deactivated team. Requires the role `admin`."""
    await service.set_active(team_id, active=True, expected=expected)
    return _read(response, await teams.get(team_id))


@router.get(
    "/{team_id}/history",
    operation_id="listTeamHistory",
    summary="List the history of a team",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def list_team_history(
    request: Request,
    teams: TeamQueriesDep,
    history: HistoryQueriesDep,
    team_id: TeamId,
    paging: HistoryPaging,
) -> Response:
    await teams.get(team_id)
    return page_of_json(request, await history.of("team", team_id, paging))
