"""Errors of notifications."""

from po_api.core.errors import NotFound, Unprocessable


class NotificationNotFound(NotFound):
    """The notification does not exist, is another member's, or is about something that the caller may not see."""

    code = "notification_not_found"
    title = "Notification not found"


class AlwaysInApp(Unprocessable):
    """Notifications of this kind are always listed, since somebody waits for the member: `in_app` cannot be false."""

    code = "always_in_app"
    title = "Always in the application"
