"""Errors that the user can correct, as one line."""

import asyncpg
from sqlalchemy.exc import DBAPIError

from po_api.core.errors import AppError, violated
from po_api.operations.audit_chain import AuditTrailDamaged
from po_api.operations.backups.errors import BackupError
from po_api.operations.embedded.errors import EmbeddedServerError
from po_api.operations.migrations import MigrationError
from po_api.operations.revisions import UnknownRevision
from po_api.operations.schema import StaleSchema
from po_api.settings import SettingsError

_EXPLAINED = (
    *(SettingsError, EmbeddedServerError, StaleSchema, MigrationError, UnknownRevision, BackupError),
    AuditTrailDamaged,
)


def explanation(error: Exception) -> str | None:
    """The line; None for an error that is a defect of the program."""
    if isinstance(error, _EXPLAINED):
        return str(error)
    if isinstance(error, AppError):
        return "; ".join([error.detail, *(item.detail for item in error.errors)])
    if isinstance(error, DBAPIError | asyncpg.PostgresError | asyncpg.ClientConfigurationError | OSError):
        known = violated(getattr(error, "orig", None))
        return known.detail if known else f"database error: {_first_line(error)}"
    return None


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__
