"""External references: the ids that suppliers, requests and orders have in other systems."""

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.errors import Busy
from po_api.core.permissions import Permission
from po_api.db.query import TransactionExecutor
from po_api.external_references.domain import ReferencedEntity
from po_api.external_references.errors import ExternalIdTaken, ExternalReferenceNotFound
from po_api.external_references.queries import ExternalReferenceQueries, ReferenceRow
from po_api.external_references.repository import ExternalReferenceRepository

_ATTEMPTS = 3


class ExternalReferenceService:
    """Adds and deletes references (buyers, admins); the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = ExternalReferenceRepository(session, actor)
        self._queries = ExternalReferenceQueries(TransactionExecutor(session), actor)

    async def put(
        self, entity: ReferencedEntity, entity_id: int, *, system: str, external_id: str
    ) -> tuple[ReferenceRow, bool]:
        """The reference, and whether it is new. An entity may have several ids in a system.

        Raises MissingRole, UnknownEntity, or ExternalIdTaken if another entity of this kind has the id.
        """
        self._actor.require(Permission.EXTERNAL_REFERENCES_WRITE)
        for _ in range(_ATTEMPTS):
            added = await self._repository.add(entity, entity_id, system, external_id)
            found = await self._queries.find(system, entity, external_id)
            if added is not None:
                assert found is not None
                await self._record("external_reference.create", found, is_new=True)
                return found, True
            if found is not None:
                if found.entity_id != entity_id:
                    raise ExternalIdTaken.at("/external_id")
                return found, False
            # Another transaction has deleted it between the two statements.
        raise Busy

    async def delete(self, reference_id: int) -> None:
        """Delete a reference: the external id is free again. Raises MissingRole or ExternalReferenceNotFound."""
        self._actor.require(Permission.EXTERNAL_REFERENCES_WRITE)
        found = await self._queries.get(reference_id)
        if not await self._repository.delete(reference_id):
            raise ExternalReferenceNotFound
        await self._record("external_reference.delete", found, is_new=False)

    async def _record(self, action: str, reference: ReferenceRow, *, is_new: bool) -> None:
        values = {name: getattr(reference, name) for name in ("entity", "entity_id", "system", "external_id")}
        before, after = (None, values) if is_new else (values, None)
        change = audit.Change(action, "external_reference", reference.id, before, after)
        await audit.record(self._session, self._actor, change)
