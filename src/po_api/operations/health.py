"""Liveness and readiness."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import asyncpg
from fastapi import APIRouter, Request, Response
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.audit import RELAY
from po_api.core.permissions import Permission
from po_api.core.sqlstate import CONNECTION_LOST
from po_api.db.database import Database
from po_api.db.distribution import is_distributed
from po_api.db.replica.executor import examine
from po_api.db.replica.status import Trouble
from po_api.files.scanning import Scanner
from po_api.operations.backups.state import unconfirmed
from po_api.operations.disk import shortage
from po_api.operations.disk_reserve import is_archiving_off
from po_api.operations.revisions import head_revision
from po_api.operations.schema import read_schema
from po_api.operations.work_state import LATE_SECONDS, feed_lag, queue_states, task_states
from po_api.web.openapi import problems
from po_api.web.routing import ApiRoute, requires
from po_api.web.schemas import Schema

# Less than the time-outs of probes, often ten seconds.
TIMEOUT_SECONDS = 5

router = APIRouter(route_class=ApiRoute, prefix="/health", tags=["health"])

# Row-level security applies to roles that are not members of the tables' owner and do not bypass it.
_IS_RESTRICTED = text(
    "SELECT relrowsecurity AND NOT pg_has_role(current_user, relowner, 'USAGE')"
    " AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)"
    " FROM pg_class WHERE oid = to_regclass('porfs')"
)


_ARCHIVE_FAILS = text("SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver")


class Liveness(Schema):
    """The process responds."""

    status: Literal["live"] = "live"


class Reason(Schema):
    """A reason why the process is not ready."""

    code: Literal["database_unreachable", "disk_full", "schema_revision", "restore_unconfirmed"]
    detail: str = Field(examples=["the database is at revision 008, this version needs 009: run `po-api migrate`"])


class ReadinessWarning(Schema):
    """A state that an operator should look at, although requests are served."""

    code: Literal["work_overdue", "work_failed", "scanner_unreachable"] = Field(
        description="work_overdue: no worker does what is due, or it cannot keep up; work_failed: something could not"
        " be done, and is not tried again, or a periodic task fails; scanner_unreachable: the virus scanner does not"
        " answer, so that no files can be uploaded"
    )
    detail: str = Field(examples=["documents: due for 412 s"])


class ReplicaReadiness(Schema):
    """Whether safe requests read from the replica; otherwise the primary serves them."""

    status: Literal["in_use", "not_in_use"]
    reason: Trouble | None = Field(description="null while the replica is in use")


class Readiness(Schema):
    """Whether requests can be served; if not, the reasons."""

    status: Literal["ready", "not_ready"]
    reasons: list[Reason] = Field(description="Empty if ready")
    warnings: list[ReadinessWarning] = Field(default=[], description="They do not make the process unready")
    database: Literal["reachable", "unreachable"]
    wal_archive: Literal["not_failing", "failing"] | None = Field(
        description="failing: recent changes cannot be restored; WAL accumulates, or archiving is off for lack of space"
    )
    revision: str | None = Field(description="Revision of the database schema", examples=["009"])
    expected_revision: str = Field(examples=["009"])
    row_level_security: Literal["active", "inactive"] = Field(
        description="inactive if the application connects as the owner of the tables"
    )
    distribution: Literal["none", "by_organisation"] | None = Field(
        description="by_organisation: the database is distributed over several servers (Citus); null if unreachable"
    )
    replica: ReplicaReadiness | None = Field(default=None, description="null if DATABASE_REPLICA_URL is not set")


@router.get(
    "/live",
    operation_id="getLiveness",
    summary="Liveness",
    responses=problems(400),
    openapi_extra=requires(Permission.PUBLIC),
)
async def get_liveness() -> Liveness:
    return Liveness()


@router.get(
    "/ready",
    operation_id="getReadiness",
    summary="Readiness",
    responses=problems(400) | {503: {"model": Readiness, "description": "Not ready"}},
    openapi_extra=requires(Permission.PUBLIC),
)
async def get_readiness(request: Request, response: Response) -> Readiness:
    # A frozen server does not respond; the task that waits for it ends with the connection's time-out.
    data_dir = request.app.state.embedded_data_dir
    examination = asyncio.create_task(_readiness(request.app.state.database, data_dir, request.app.state.scanner))
    done, _ = await asyncio.wait({examination}, timeout=TIMEOUT_SECONDS)
    readiness = await examination if done else await _unreachable(data_dir)
    if readiness.status == "not_ready":
        response.status_code = 503
    return readiness


async def _readiness(database: Database, data_dir: Path | None, scanner: Scanner | None) -> Readiness:
    try:
        async with database.engine.connect() as connection:
            readiness = await _examine(connection, data_dir)
            distribution = "by_organisation" if is_distributed(database.engine) else "none"
        warnings = [*readiness.warnings, *await _examine_scanner(scanner)]
        replica = await _examine_replica(database)
        return readiness.model_copy(update={"distribution": distribution, "replica": replica, "warnings": warnings})
    except (SQLAlchemyError, asyncpg.PostgresError, *CONNECTION_LOST):
        return await _unreachable(data_dir)


async def _unreachable(data_dir: Path | None) -> Readiness:
    reasons = [Reason(code="database_unreachable", detail="the database cannot be reached")]
    if found := await shortage(data_dir):
        reasons.append(Reason(code="disk_full", detail=found))
    return Readiness(
        status="not_ready",
        reasons=reasons,
        database="unreachable",
        wal_archive=None,
        revision=None,
        expected_revision=head_revision(),
        row_level_security="inactive",
        distribution=None,
    )


async def _examine(connection: AsyncConnection, data_dir: Path | None) -> Readiness:
    schema = await read_schema(connection)
    is_restricted = await connection.scalar(_IS_RESTRICTED)
    reasons = []
    if schema.problem:
        reasons.append(Reason(code="schema_revision", detail=schema.problem))
    if restored := await unconfirmed(connection):
        detail = f"restored {restored}: check the data, then run `po-api backup confirm`"
        reasons.append(Reason(code="restore_unconfirmed", detail=detail))
    warnings = [] if schema.problem else [warning async for warning in _warnings(connection)]
    archive_fails = await connection.scalar(_ARCHIVE_FAILS) or (data_dir is not None and is_archiving_off(data_dir))
    await connection.rollback()
    if found := await shortage(data_dir, connection):
        reasons.append(Reason(code="disk_full", detail=found))
    return Readiness(
        status="not_ready" if reasons else "ready",
        reasons=reasons,
        warnings=warnings,
        database="reachable",
        wal_archive="failing" if archive_fails else "not_failing",
        revision=schema.revision,
        expected_revision=head_revision(),
        row_level_security="active" if is_restricted else "inactive",
        distribution=None,
    )


async def _warnings(connection: AsyncConnection) -> AsyncIterator[ReadinessWarning]:
    for queue in await queue_states(connection):
        if queue.depends_on_others:
            continue
        if queue.late_seconds > LATE_SECONDS:
            yield ReadinessWarning(code="work_overdue", detail=f"{queue.name}: due for {queue.late_seconds:.0f} s")
        if queue.failed:
            yield ReadinessWarning(code="work_failed", detail=f"{queue.name}: {queue.failed} failed")
    for task in await task_states(connection):
        if task.late_seconds > LATE_SECONDS:
            yield ReadinessWarning(code="work_overdue", detail=f"{task.name}: due for {task.late_seconds:.0f} s")
        if task.error:
            yield ReadinessWarning(code="work_failed", detail=f"{task.name}: the last run failed ({task.error})")
    if (lag := await feed_lag(connection)) > LATE_SECONDS:
        yield ReadinessWarning(code="work_overdue", detail=f"{RELAY}: due for {lag:.0f} s")


async def _examine_scanner(scanner: Scanner | None) -> list[ReadinessWarning]:
    if scanner is None or await scanner.is_reachable():
        return []
    return [ReadinessWarning(code="scanner_unreachable", detail="files cannot be uploaded: CLAMAV_URL does not answer")]


async def _examine_replica(database: Database) -> ReplicaReadiness | None:
    if database.replica is None:
        return None
    trouble = await examine(database, database.replica)
    return ReplicaReadiness(status="not_in_use" if trouble else "in_use", reason=trouble)
