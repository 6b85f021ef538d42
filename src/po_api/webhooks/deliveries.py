"""Attempts of deliveries by the worker: sign, send, and judge the answer."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from time import perf_counter

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.db.database import Database, enter_tenant
from po_api.db.leases import Job
from po_api.db.work import Failure, Record, Retry
from po_api.observability import metrics
from po_api.observability.logging import get_logger
from po_api.organisations.queries import in_each_organisation
from po_api.webhooks.domain import (
    ATTEMPT_SECONDS,
    ATTEMPTS,
    DELAYS,
    FAILING_LIMIT,
    KEPT,
    DisabledReason,
    SendingError,
    WebhookDeliveryStatus,
    error_of_status,
    retry_after,
)
from po_api.webhooks.encryption import SecretCipher, Undecryptable
from po_api.webhooks.endpoint_leases import EndpointQueue
from po_api.webhooks.following import QUEUE
from po_api.webhooks.models import WebhookDelivery, WebhookEndpoint
from po_api.webhooks.repository import Attempt, PreparedRow, WebhookRepository
from po_api.webhooks.sending import Answer, NotSent, Sender
from po_api.webhooks.signing import signed_headers

WEBHOOKS = EndpointQueue(
    QUEUE,
    WebhookDelivery.__table__,
    seconds=ATTEMPT_SECONDS + 5,
    delays=DELAYS,
    attempts=ATTEMPTS,
    # They mostly wait for receivers.
    at_once=32,
    done=WebhookDeliveryStatus.DELIVERED,
    leaves_the_house=True,
    depends_on_others=True,
)
_DISABLED = "endpoint_disabled"

_log = get_logger(__name__)


class WebhookHandler:
    """Delivers the rows of the queue."""

    def __init__(self, database: Database, sender: Sender, cipher: SecretCipher) -> None:
        self._database = database
        self._sender = sender
        self._cipher = cipher

    async def perform(self, job: Job) -> Record:
        prepared = await self._prepared(job)
        secrets = await self._secrets(job, prepared)
        body, now = prepared.body.encode(), utc_now()
        headers = signed_headers(secrets, prepared.webhook_id, now, body)
        started = perf_counter()
        answer, error = await self._sent(prepared.url, headers, body)
        duration = int((perf_counter() - started) * 1000)
        status, text = (None, None) if answer is None else (answer.status, answer.body)
        attempt = Attempt(prepared.url, now, duration, status, text)
        if error is not None:
            await self._record_failure(job, prepared, attempt, error)
            raise _outcome(job, prepared, answer, error)
        if prepared.failing_since is not None:
            # By itself: endpoints are locked before their deliveries, one of which ends in the next transaction.
            async with self._in_tenant(job) as (_, repository):
                await repository.recover(prepared.endpoint_id)

        async def record(session: AsyncSession) -> None:
            await WebhookRepository(session, job.organisation_id).record_success(job, attempt)

        return record

    async def failed(self, session: AsyncSession, job: Job, code: str) -> None:
        """The delivery shows it, and can be retried."""

    async def _sent(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Answer | None, SendingError | None]:
        """The answer, if there was one, and the reason why it is no success."""
        try:
            answer = await self._sender.post(url, headers, body)
        except NotSent as failure:
            return None, failure.error
        return answer, error_of_status(answer.status)

    async def _prepared(self, job: Job) -> PreparedRow:
        async with self._in_tenant(job) as (_, repository):
            prepared = await repository.prepared(job.id)
        if prepared is None:
            raise Failure("deleted")
        if not prepared.is_active and prepared.number is not None:
            # Deactivated since the row was leased: it is held when it is due again.
            raise Retry(_DISABLED, after=timedelta(0))
        return prepared

    async def _secrets(self, job: Job, prepared: PreparedRow) -> Sequence[str]:
        """The secrets to sign with: during the overlap of a rotation, the previous one as well."""
        try:
            secrets = [self._cipher.decrypt(prepared.secret)]
        except Undecryptable:
            async with self._in_tenant(job) as (session, repository):
                endpoint = await repository.locked(prepared.endpoint_id)
                if endpoint is not None and endpoint.is_active:
                    await _disable(session, job.actor, endpoint, DisabledReason.SECRET_UNDECRYPTABLE)
            if prepared.number is None:
                raise Failure(DisabledReason.SECRET_UNDECRYPTABLE) from None
            raise Retry(DisabledReason.SECRET_UNDECRYPTABLE, after=timedelta(0)) from None
        if prepared.previous_secret_until is not None and prepared.previous_secret_until > utc_now():
            try:
                secrets.append(self._cipher.decrypt(str(prepared.previous_secret)))
            except Undecryptable:
                _log.warning("webhook_secret_undecryptable", endpoint=prepared.endpoint_id)
        return secrets

    async def _record_failure(self, job: Job, prepared: PreparedRow, attempt: Attempt, error: SendingError) -> None:
        """Write what happened, and what follows for the endpoint. A ping is a test, after which nothing follows."""
        async with self._in_tenant(job) as (session, repository):
            endpoint = await repository.locked(prepared.endpoint_id)
            is_ours = await repository.record_failure(job, attempt)
            if not is_ours or prepared.number is None or endpoint is None or not endpoint.is_active:
                return
            if endpoint.failing_since is None:
                endpoint.failing_since = attempt.attempted_at
            if error is SendingError.GONE:
                await _disable(session, job.actor, endpoint, DisabledReason.GONE)
            elif attempt.attempted_at - endpoint.failing_since >= FAILING_LIMIT:
                await _disable(session, job.actor, endpoint, DisabledReason.FAILING)

    @asynccontextmanager
    async def _in_tenant(self, job: Job) -> AsyncIterator[tuple[AsyncSession, WebhookRepository]]:
        """A transaction in the job's organisation."""
        async with self._database.sessions.begin() as session:
            await enter_tenant(session, job.organisation_id)
            yield session, WebhookRepository(session, job.organisation_id)


def _outcome(job: Job, prepared: PreparedRow, answer: Answer | None, error: SendingError) -> Retry | Failure:
    """How the attempt ends. A ping is sent once; what is gone does not come back."""
    detail = None if answer is None else f"status {answer.status}"
    if prepared.number is None or error is SendingError.GONE:
        return Failure(error, detail)
    asked = None if answer is None else retry_after(answer.retry_after, utc_now())
    if asked is None:
        return Retry(error, detail)
    # Not before the receiver asks for, and not before the schedule.
    delay = max(asked, DELAYS[min(job.attempts, len(DELAYS)) - 1])
    return Retry(error, detail, after=delay * random.uniform(1, 1.1))  # noqa: S311


async def _disable(session: AsyncSession, actor: Actor, endpoint: WebhookEndpoint, reason: DisabledReason) -> None:
    """Deactivate an active endpoint, which is locked; the audit trail and a metric tell of it."""
    endpoint.is_active, endpoint.disabled_reason, endpoint.disabled_at = False, reason, utc_now()
    endpoint.version += 1
    after = {"is_active": False, "disabled_reason": reason}
    change = audit.Change(
        "webhook_endpoint.disable", "webhook_endpoint", endpoint.id, {"is_active": True}, after, endpoint.version
    )
    await audit.record(session, actor, change)
    metrics.WEBHOOK_ENDPOINTS_DISABLED.labels(reason).inc()
    _log.warning("webhook_endpoint_disabled", endpoint=endpoint.id, reason=reason)


async def purge(database: Database) -> int:
    """Delete what was delivered or has failed KEPT ago, of all organisations; returns the number of rows."""
    before = utc_now() - KEPT

    async def delete(session: AsyncSession, organisation_id: int) -> int:
        return await WebhookRepository(session, organisation_id).purge(before)

    found, deleted = 0, 1
    while deleted:
        deleted = await in_each_organisation(database, delete)
        found += deleted
    return found
