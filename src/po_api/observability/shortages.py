"""Shortages that PostgreSQL reports (SQLSTATE class 53), logged with their kind; a full disk is remembered.

Clients only learn that the service is unavailable; operators have to know what is short.
"""

from po_api.observability.logging import get_logger

SQLSTATE_CLASS = "53"
_DISK_FULL = "53100"
_KINDS = {
    _DISK_FULL: "disk_full",
    "53200": "out_of_memory",
    "53300": "too_many_connections",
    "53400": "configuration_limit_exceeded",
}

_log = get_logger(__name__)
_is_disk_full = False


def report(sqlstate: str) -> None:
    """Log an error of this class. A process has one database, so that its state is the process's."""
    global _is_disk_full  # noqa: PLW0603
    if sqlstate == _DISK_FULL:
        _is_disk_full = True
    _log.error("database_shortage", kind=_KINDS.get(sqlstate, "insufficient_resources"), sqlstate=sqlstate)


def is_disk_full() -> bool:
    """Whether PostgreSQL has reported a full disk, and no later write has succeeded that tested it."""
    return _is_disk_full


def disk_has_space() -> None:
    """The disk was full, and is no longer."""
    global _is_disk_full  # noqa: PLW0603
    _is_disk_full = False
