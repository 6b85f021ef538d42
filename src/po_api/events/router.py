"""/events, and the newest seal of the audit trail."""

from typing import Annotated

from fastapi import Query

from po_api.core.permissions import Permission
from po_api.db.pagination import DEFAULT_LIMIT, MAX_LIMIT
from po_api.events.dependencies import AfterDep, EventQueriesDep
from po_api.events.schemas import EventName, EventPage, SealRead
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/events", tags=["events"])
seals = api_router(prefix="/audit-events", tags=["audit trail"])


@router.get(
    "",
    operation_id="listEvents",
    summary="Follow the feed of events",
    response_model=EventPage,
    responses=problems(403, 410),
    openapi_extra=requires(Permission.EVENTS_READ),
)
async def list_events(
    events: EventQueriesDep,
    after: AfterDep,
    type_: Annotated[list[EventName], Query(alias="type", description="Any of these types")] = [],  # noqa: B006
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items per page")] = DEFAULT_LIMIT,
) -> object:
    """List the events of the organisation in the order of their numbers. Requires the role `admin` or `auditor`.

    Every accepted change is an event, numbered shortly after it was committed. Store `next` together with what was done
    with the events, and send it as `after`: no event is missed, and none is seen twice. With `type`, a page may have
    fewer events than `limit`, or none, while `has_more` is true. After a restore from a backup, a position of the time
    before is answered with 410 `feed_changed`, whose `next` is the position to continue with.
    """
    page = await events.page(after, type_, limit)
    position = None if page.position is None else str(page.position)
    return {"next": position, "has_more": page.has_more, "items": page.items}


@seals.get(
    "/seal",
    operation_id="getSeal",
    summary="Get the newest seal of the audit trail",
    response_model=SealRead,
    responses=problems(403),
    openapi_extra=requires(Permission.AUDIT_READ),
)
async def get_seal(events: EventQueriesDep) -> object:
    """Get the seal of the last numbered event, to be noted down elsewhere. Requires the role `admin` or `auditor`.

    `po-api audit verify --expect NUMBER:SEAL` shows later whether any event up to that number was changed, removed or
    inserted since.
    """
    return await events.seal()
