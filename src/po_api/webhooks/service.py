"""Endpoints of an organisation: create, change, rotate secrets, test, send again (admins)."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.query import TransactionExecutor
from po_api.db.wakeups import notify_after_commit
from po_api.events.queries import EventQueries
from po_api.webhooks.domain import MAX_ENDPOINTS, PING, DisabledReason, WebhookDeliveryStatus, audited
from po_api.webhooks.encryption import SecretCipher
from po_api.webhooks.errors import (
    DeliveryInProgress,
    NumberNotReached,
    TooManyWebhookEndpoints,
    UrlNotAllowed,
    WebhookDeliveryNotFound,
    WebhookEndpointDisabled,
    WebhookEndpointNotFound,
)
from po_api.webhooks.following import FOLLOW, QUEUE, message_body
from po_api.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMessage
from po_api.webhooks.networks import Destinations
from po_api.webhooks.repository import WebhookRepository
from po_api.webhooks.signing import new_message_id, new_secret


class WebhookService:
    """Creates and changes endpoints; it flushes, the caller commits."""

    def __init__(
        self, session: AsyncSession, actor: Actor, *, destinations: Destinations, cipher: SecretCipher
    ) -> None:
        self._session = session
        self._actor = actor
        self._destinations = destinations
        self._cipher = cipher
        self._repository = WebhookRepository(session, actor.organisation_id)
        self._events = EventQueries(TransactionExecutor(session), actor)

    async def create(
        self, *, url: str, description: str | None, event_types: Sequence[str] | None
    ) -> tuple[WebhookEndpoint, str]:
        """Add an endpoint for the events from now on; returns it with its secret, which is not shown again."""
        self._actor.require(Permission.WEBHOOKS)
        url = self._checked(url)
        await self._repository.lock_organisation()
        if await self._repository.count() >= MAX_ENDPOINTS:
            raise TooManyWebhookEndpoints
        newest, secret = await self._events.seal(), new_secret()
        endpoint = WebhookEndpoint(
            organisation_id=self._actor.organisation_id,
            url=url,
            description=description,
            event_types=None if event_types is None else list(event_types),
            secret=self._cipher.encrypt(secret),
            feed=newest.feed,
            number=newest.number,
        )
        self._session.add(endpoint)
        await self._session.flush()
        values = {"url": url, "description": description, "event_types": event_types}
        await self._record("create", endpoint, None, values)
        return endpoint, secret

    async def update(
        self, endpoint_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]
    ) -> WebhookEndpoint:
        """Change an endpoint. Activating it queues what is held, and forgets its failures."""
        endpoint = await self._locked(endpoint_id, expected)
        changes = {**values, **({"url": self._checked(str(values["url"]))} if "url" in values else {})}
        before, after = merge_patch.apply(endpoint, changes)
        if not after:
            return endpoint
        if "is_active" in after:
            await self._switch(endpoint)
        endpoint.version += 1
        await self._record("update", endpoint, before, after)
        return endpoint

    async def delete(self, endpoint_id: int, *, expected: ExpectedVersions) -> None:
        """Delete an endpoint with its deliveries. Attempts in progress are not interrupted."""
        endpoint = await self._locked(endpoint_id, expected)
        await self._record("delete", endpoint, {"url": endpoint.url, "description": endpoint.description}, None)
        await self._repository.delete(endpoint)

    async def rotate_secret(
        self, endpoint_id: int, *, expected: ExpectedVersions, overlap: timedelta
    ) -> tuple[WebhookEndpoint, str]:
        """Give an endpoint a new secret; both sign for the time of the overlap."""
        endpoint, secret = await self._locked(endpoint_id, expected), new_secret()
        until = utc_now() + overlap if overlap else None
        endpoint.previous_secret = endpoint.secret if until else None
        endpoint.previous_secret_until = until
        endpoint.secret = self._cipher.encrypt(secret)
        endpoint.version += 1
        await self._record("rotate_secret", endpoint, None, {"previous_secret_until": until})
        return endpoint, secret

    async def test(self, endpoint_id: int) -> int:
        """Send a ping, also to a deactivated endpoint; returns the id of the delivery."""
        endpoint, now = await self._locked(endpoint_id, None), utc_now()
        message = WebhookMessage(
            organisation_id=self._actor.organisation_id,
            webhook_id=new_message_id(),
            body=message_body(PING, now, {"webhook_endpoint_id": endpoint.id}),
            created_at=now,
        )
        self._session.add(message)
        await self._session.flush()
        delivery = WebhookDelivery(
            organisation_id=self._actor.organisation_id,
            endpoint_id=endpoint.id,
            message_id=message.id,
            type=PING,
            next_attempt_at=now,
            created_at=now,
        )
        self._session.add(delivery)
        await self._session.flush()
        await self._record("test", endpoint, None, {"delivery_id": delivery.id})
        notify_after_commit(self._session, QUEUE)
        return delivery.id

    async def retry(self, endpoint_id: int, delivery_id: int) -> None:
        """Attempt a delivery now: one that is finished or held as if it was new, one that waits before its time."""
        endpoint = await self._locked(endpoint_id, None)
        delivery, now = await self._repository.locked_delivery(endpoint_id, delivery_id), utc_now()
        if delivery is None:
            raise WebhookDeliveryNotFound
        if not endpoint.is_active and delivery.number is not None:
            raise WebhookEndpointDisabled
        if delivery.leased_until is not None and delivery.leased_until > now:
            raise DeliveryInProgress
        if delivery.status != WebhookDeliveryStatus.QUEUED:
            delivery.status, delivery.attempts, delivery.finished_at = WebhookDeliveryStatus.QUEUED, 0, None
        delivery.next_attempt_at = now
        await self._session.flush()
        await self._record("retry", endpoint, None, {"delivery_id": delivery_id})
        notify_after_commit(self._session, QUEUE)

    async def replay(self, endpoint_id: int, *, after: int) -> WebhookEndpoint:
        """Deliver all events after a number again, those that wait for an attempt excepted."""
        endpoint, newest = await self._locked(endpoint_id, None), await self._events.seal()
        if not endpoint.is_active:
            raise WebhookEndpointDisabled
        if after > newest.number:
            raise NumberNotReached
        before = endpoint.number
        endpoint.feed, endpoint.number = newest.feed, after
        await self._record("replay", endpoint, {"number": before}, {"number": after})
        notify_after_commit(self._session, FOLLOW)
        return endpoint

    async def _switch(self, endpoint: WebhookEndpoint) -> None:
        """Complete the change of `is_active`."""
        if endpoint.is_active:
            endpoint.disabled_reason = endpoint.disabled_at = endpoint.failing_since = None
            await self._repository.release(endpoint.id)
            notify_after_commit(self._session, QUEUE)
            notify_after_commit(self._session, FOLLOW)
        else:
            endpoint.disabled_reason, endpoint.disabled_at = DisabledReason.BY_ADMIN, utc_now()

    async def _locked(self, endpoint_id: int, expected: ExpectedVersions) -> WebhookEndpoint:
        self._actor.require(Permission.WEBHOOKS)
        endpoint = await self._repository.locked(endpoint_id)
        if endpoint is None:
            raise WebhookEndpointNotFound
        require_version(endpoint.version, expected)
        return endpoint

    def _checked(self, url: str) -> str:
        try:
            return self._destinations.checked_url(url)
        except ValueError as error:
            raise UrlNotAllowed(str(error)) from None

    async def _record(
        self,
        action: str,
        endpoint: WebhookEndpoint,
        before: Mapping[str, object] | None,
        after: Mapping[str, object] | None,
    ) -> None:
        version = None if after is None else endpoint.version
        old, new = (None if values is None else audited(values) for values in (before, after))
        change = audit.Change(f"webhook_endpoint.{action}", "webhook_endpoint", endpoint.id, old, new, version)
        await audit.record(self._session, self._actor, change)
