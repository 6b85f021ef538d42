"""The timelines of requests and orders."""

from json import loads

from fastapi import Request, Response

from po_api.core.permissions import Permission
from po_api.db.pagination import PageOf
from po_api.events.domain import EVENT_TYPES, UNKNOWN
from po_api.porfs.router import PorfId
from po_api.purchase_orders.router import OrderId
from po_api.timeline.dependencies import TimelinePaging, TimelineQueriesDep
from po_api.timeline.domain import TimelineKind
from po_api.timeline.queries import TimelineRow
from po_api.timeline.schemas import TimelineActor, TimelineEntry, TimelinePage
from po_api.web.dependencies import link_next
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

porfs_router = api_router(prefix="/porfs", tags=["porfs"])
orders_router = api_router(prefix="/purchase-orders", tags=["purchase orders"])


_FROM_EVENTS = frozenset({TimelineKind.EVENT, TimelineKind.ORDER, TimelineKind.DELIVERY})


def _shown(request: Request, response: Response, page: PageOf[TimelineRow]) -> TimelinePage:
    return TimelinePage(items=[_entry(row) for row in page.items], **link_next(request, response, page))


def _entry(row: TimelineRow) -> TimelineEntry:
    actor = TimelineActor.model_validate({"kind": row.actor_kind, "id": row.actor_id, "name": row.actor_name})
    # Of events, the action; of what has no event of its own, a name that is like one.
    is_action = row.kind in _FROM_EVENTS
    summary_code = EVENT_TYPES.get(row.code, UNKNOWN).name if is_action else row.code
    return TimelineEntry.model_validate(
        {
            "at": row.at,
            "kind": row.kind,
            "id": row.id,
            "actor": actor,
            "summary_code": summary_code,
            "data": loads(row.data),
        }
    )


@porfs_router.get(
    "/{porf_id}/timeline",
    operation_id="getPorfTimeline",
    summary="List the timeline of a request",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def get_porf_timeline(
    request: Request, response: Response, timelines: TimelineQueriesDep, porf_id: PorfId, paging: TimelinePaging
) -> TimelinePage:
    """List what happened to a request: changes, decisions, comments, files, and the issue and end of its orders."""
    return _shown(request, response, await timelines.of_porf(porf_id, paging))


@orders_router.get(
    "/{order_id}/timeline",
    operation_id="getPurchaseOrderTimeline",
    summary="List the timeline of a purchase order",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def get_order_timeline(
    request: Request, response: Response, timelines: TimelineQueriesDep, order_id: OrderId, paging: TimelinePaging
) -> TimelinePage:
    """List what happened to an order: changes, comments, files and, for buyers, admins and auditors, deliveries.

    Requesters of a part of the order see of it what they see in its history, comments and files.
    """
    return _shown(request, response, await timelines.of_order(order_id, paging))
