"""Adds and deletes rows of external references."""

from typing import NamedTuple

import asyncpg
from sqlalchemy import bindparam, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.db.query import Query, TransactionExecutor
from po_api.external_references.domain import ReferencedEntity
from po_api.external_references.errors import UnknownEntity
from po_api.external_references.models import ExternalReference

_REFERENCES = ExternalReference.__table__
_KEYS = tuple(f"{entity}_id" for entity in ReferencedEntity)
_COLUMNS = ("organisation_id", "entity", *_KEYS, "system", "external_id", "created_at")


class AddedReference(NamedTuple):
    """The key of a new reference."""

    id: int


_ADD = Query(
    "external_references.add",
    insert(ExternalReference)
    .values(**{name: bindparam(name, type_=_REFERENCES.c[name].type) for name in _COLUMNS})
    .on_conflict_do_nothing(constraint="uq_external_references_id")
    .returning(ExternalReference.id),
    AddedReference,
)


class ExternalReferenceRepository:
    """The rows of the external references of the actor's organisation."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._organisation_id = actor.organisation_id

    async def add(self, entity: ReferencedEntity, entity_id: int, system: str, external_id: str) -> int | None:
        """The id of a new reference; None if the external id is taken, also by a transaction that was waited for.

        Raises UnknownEntity for an entity that the organisation does not have.
        """
        keys = dict.fromkeys(_KEYS) | {f"{entity}_id": entity_id}
        values = {"entity": entity, "system": system, "external_id": external_id, "created_at": utc_now()}
        try:
            added = await self._executor.row(_ADD, organisation_id=self._organisation_id, **keys, **values)
        except (asyncpg.ForeignKeyViolationError, IntegrityError):
            raise UnknownEntity.at("/entity_id") from None
        return None if added is None else added.id

    async def delete(self, reference_id: int) -> bool:
        """Whether there was such a reference, which is deleted."""
        statement = delete(ExternalReference).where(
            ExternalReference.organisation_id == self._organisation_id, ExternalReference.id == reference_id
        )
        deleted = await self._session.execute(statement.returning(ExternalReference.id))
        return deleted.scalar_one_or_none() is not None
