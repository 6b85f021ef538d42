"""/notifications and /notification-preferences: what the caller is told, and how."""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.notifications.dependencies import (
    NotificationFiltersDep,
    NotificationPaging,
    NotificationQueriesDep,
    NotificationServiceDep,
)
from po_api.notifications.domain import NotificationKind
from po_api.notifications.schemas import (
    NotificationCount,
    NotificationPage,
    NotificationRead,
    PreferencesPatch,
    PreferencesRead,
    ReadAll,
    ReadCount,
)
from po_api.notifications.service import preferences_of
from po_api.web.dependencies import DryRun, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems, tagged
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/notifications", tags=["notifications"])
preferences_router = api_router(prefix="/notification-preferences", tags=["notifications"])

NotificationId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get(
    "",
    operation_id="listNotifications",
    summary="List notifications",
    responses=problems(403),
    openapi_extra=requires(Permission.NOTIFICATIONS),
)
async def list_notifications(
    request: Request,
    response: Response,
    notifications: NotificationQueriesDep,
    filters: NotificationFiltersDep,
    paging: NotificationPaging,
) -> NotificationPage:
    """List the caller's notifications, the newest first; those about what the caller may not see any more are left
    out."""
    page = await notifications.page(filters, paging)
    items = [NotificationRead.of(row) for row in page.items]
    return NotificationPage(items=items, **link_next(request, response, page))


@router.get(
    "/count",
    operation_id="getNotificationCount",
    summary="Count unread notifications",
    responses=problems(403) | tagged(),
    openapi_extra=requires(Permission.NOTIFICATIONS),
)
async def count_notifications(response: Response, notifications: NotificationQueriesDep) -> NotificationCount:
    """Count the caller's notifications that are neither read nor resolved, for a badge that asks often."""
    unread = await notifications.unread()
    set_version(response, unread)
    return NotificationCount(unread=unread)


@router.post(
    "/read-all",
    operation_id="readAllNotifications",
    summary="Mark all notifications as read",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.NOTIFICATIONS),
)
async def read_all(service: NotificationServiceDep, dry_run: DryRun, body: ReadAll) -> ReadCount:
    """Mark the caller's notifications of up to a time as read: later ones were not shown yet."""
    return ReadCount(read=await service.read_all(body.before))


@router.post(
    "/{notification_id}/read",
    operation_id="readNotification",
    summary="Mark a notification as read",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.NOTIFICATIONS),
)
async def read(service: NotificationServiceDep, notification_id: NotificationId, dry_run: DryRun) -> NotificationRead:
    """Mark a notification of the caller as read. One that was read stays as it is."""
    return NotificationRead.of(await service.read(notification_id))


@preferences_router.get(
    "",
    operation_id="getNotificationPreferences",
    summary="Get notification preferences",
    responses=problems(403) | tagged(),
    openapi_extra=requires(Permission.NOTIFICATIONS),
)
async def get_preferences(response: Response, notifications: NotificationQueriesDep) -> PreferencesRead:
    """Get how the caller is told of notifications of each kind."""
    preferences, version = await preferences_of(notifications)
    set_version(response, version)
    return PreferencesRead.of(preferences)


@preferences_router.patch(
    "",
    operation_id="updateNotificationPreferences",
    summary="Update notification preferences",
    responses=problems(403, 412, 428) | tagged(),
    openapi_extra=requires(Permission.NOTIFICATIONS),
)
async def update_preferences(
    response: Response, service: NotificationServiceDep, expected: IfMatch, body: PreferencesPatch
) -> PreferencesRead:
    """Change how the caller is told. With `email` a mail is sent five minutes later (`now`), at 08:00 of the
    organisation's time zone with all others (`digest`), or never (`off`), unless the notification was read by then."""
    changes = {NotificationKind(name): change for name, change in body.model_dump().items()}
    preferences, version = await service.choose(changes, expected=expected)
    set_version(response, version)
    return PreferencesRead.of(preferences)
