"""/api-keys: API keys, with which scripts act as a user.

The operations that create a key take no `Idempotency-Key`: the response contains a secret of which only the digest is
stored, so it could not be replayed.
"""

from datetime import timedelta
from typing import Annotated

from fastapi import Path, Request, Response

from po_api.api_keys.dependencies import ApiKeyPaging, ApiKeyQueriesDep, ApiKeyServiceDep
from po_api.api_keys.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyPage, ApiKeyRead, ApiKeyRotation
from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.web.dependencies import PrincipalDep, link_next, page_of_json
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/api-keys", tags=["API keys"])

KeyId = Annotated[int, Path(ge=1, le=MAX_ID)]
USUAL_OVERLAP = ApiKeyRotation()


@router.post(
    "",
    operation_id="createApiKey",
    summary="Create an API key",
    status_code=201,
    openapi_extra=requires(Permission.API_KEYS),
)
async def create_api_key(
    response: Response, principal: PrincipalDep, service: ApiKeyServiceDep, body: ApiKeyCreate
) -> ApiKeyCreated:
    lifetime = timedelta(days=body.expires_in_days)
    row, key = await service.create(principal, name=body.name, scopes=body.scopes, lifetime=lifetime)
    response.headers["Location"] = f"/api/v1/api-keys/{row.id}"
    return ApiKeyCreated.of(row, key=key)


@router.get(
    "",
    operation_id="listApiKeys",
    summary="List API keys",
    openapi_extra=requires(Permission.API_KEYS),
)
async def list_api_keys(
    request: Request, response: Response, principal: PrincipalDep, keys: ApiKeyQueriesDep, paging: ApiKeyPaging
) -> ApiKeyPage:
    """List the caller's live keys; an admin gets those of all members."""
    page = await keys.page(principal, paging)
    return ApiKeyPage(items=[ApiKeyRead.of(row) for row in page.items], **link_next(request, response, page))


@router.get(
    "/{key_id}",
    operation_id="getApiKey",
    summary="Get an API key",
    responses=problems(404),
    openapi_extra=requires(Permission.API_KEYS),
)
async def get_api_key(principal: PrincipalDep, keys: ApiKeyQueriesDep, key_id: KeyId) -> ApiKeyRead:
    return ApiKeyRead.of(await keys.get(principal, key_id))


@router.post(
    "/{key_id}/rotate",
    operation_id="rotateApiKey",
    summary="Rotate an API key",
    status_code=201,
    responses=problems(404),
    openapi_extra=requires(Permission.API_KEYS),
)
async def rotate_api_key(
    response: Response,
    principal: PrincipalDep,
    service: ApiKeyServiceDep,
    key_id: KeyId,
    body: ApiKeyRotation = USUAL_OVERLAP,
) -> ApiKeyCreated:
    """Create the successor of one of the caller's own keys. The old key stays valid for the overlap."""
    overlap, lifetime = timedelta(seconds=body.overlap_seconds), timedelta(days=body.expires_in_days)
    row, key = await service.rotate(principal, key_id, overlap=overlap, lifetime=lifetime)
    response.headers["Location"] = f"/api/v1/api-keys/{row.id}"
    return ApiKeyCreated.of(row, key=key)


@router.delete(
    "/{key_id}",
    operation_id="revokeApiKey",
    summary="Revoke an API key",
    status_code=204,
    responses=problems(404),
    openapi_extra=requires(Permission.API_KEYS),
)
async def revoke_api_key(principal: PrincipalDep, service: ApiKeyServiceDep, key_id: KeyId) -> None:
    """Revoke one of the caller's own keys; an admin may revoke any member's."""
    await service.revoke(principal, key_id)


@router.get(
    "/{key_id}/history",
    operation_id="listApiKeyHistory",
    summary="List the history of an API key",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.API_KEYS),
)
async def list_api_key_history(
    request: Request,
    principal: PrincipalDep,
    keys: ApiKeyQueriesDep,
    history: HistoryQueriesDep,
    key_id: KeyId,
    paging: HistoryPaging,
) -> Response:
    """List the changes of a live key. Those of revoked and expired keys are among the audit events."""
    await keys.get(principal, key_id)
    return page_of_json(request, await history.of("api_key", key_id, paging))
