"""Rules of webhooks: limits, the schedule of attempts, what an answer means."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

MAX_ENDPOINTS = 20
# At the same time, to one endpoint; while it fails, only one: attempts that hang should not delay other endpoints.
IN_FLIGHT = 4
IN_FLIGHT_FAILING = 1
# Deliveries of an endpoint that are not finished; it reads on in the feed when there are fewer.
MAX_WAITING = 1000

# The times between the attempts of a delivery: ten in about three days.
DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
ATTEMPTS = len(DELAYS) + 1
MAX_RETRY_AFTER = timedelta(hours=24)
# An endpoint that has failed for this time, without a success, is deactivated.
FAILING_LIMIT = timedelta(days=5)
# Finished deliveries, and the ids of their messages, are kept for this time.
KEPT = timedelta(days=30)

DEFAULT_OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=7)

ATTEMPT_SECONDS = 15
# Of the body of an answer, in bytes.
SHOWN_BYTES = 1024

PING = "ping"


class WebhookDeliveryStatus(StrEnum):
    """The state of a delivery; `held` is not attempted: its endpoint was deactivated, or the database was restored."""

    QUEUED = "queued"
    HELD = "held"
    DELIVERED = "delivered"
    FAILED = "failed"


class DisabledReason(StrEnum):
    """Why nothing is delivered to an endpoint."""

    BY_ADMIN = "by_admin"
    GONE = "gone"
    FAILING = "failing"
    SECRET_UNDECRYPTABLE = "secret_undecryptable"  # noqa: S105 - a reason


class SendingError(StrEnum):
    """Why an attempt was no success; `error_code` of a delivery. The worker adds `interrupted` and `timed_out`."""

    FORBIDDEN_ADDRESS = "forbidden_address"
    NAME_NOT_RESOLVED = "name_not_resolved"
    CONNECTION_FAILED = "connection_failed"
    TLS_FAILED = "tls_failed"
    NO_ANSWER = "no_answer"
    TIMED_OUT = "timed_out"
    REDIRECTED = "redirected"
    GONE = "gone"
    UNEXPECTED_STATUS = "unexpected_status"


def error_of_status(status: int) -> SendingError | None:
    """What is wrong with the status of an answer; None if the receiver has accepted the message."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return SendingError.REDIRECTED
    return SendingError.GONE if status == 410 else SendingError.UNEXPECTED_STATUS


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """The time that `Retry-After` asks for (RFC 9110: seconds or a date), at most MAX_RETRY_AFTER; None if invalid."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        asked = timedelta(seconds=min(int(text[:9]), int(MAX_RETRY_AFTER.total_seconds())))
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        asked = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(max(asked, timedelta(0)), MAX_RETRY_AFTER)


def audited_url(url: str) -> str:
    """The origin of a URL: its path and its query may have secrets."""
    return "/".join(url.split("/", 3)[:3])


def audited(values: Mapping[str, object]) -> dict[str, object]:
    """The attributes of an endpoint as the audit trail shows them."""
    return {name: audited_url(str(value)) if name == "url" else value for name, value in values.items()}
