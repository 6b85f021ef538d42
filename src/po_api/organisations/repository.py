"""Locks and changes rows of organisations and of their number series."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.audit.events import AuditEvent
from po_api.core.records import field_names
from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.organisations.models import DocumentLogo, Organisation, OrganisationLogo


class FormerPrefixes(NamedTuple):
    """The prefixes before a change; None for the one that was not changed."""

    porf_prefix: str | None
    po_prefix: str | None


_FORMER_PREFIXES = Query(
    "organisations.former_prefixes",
    select(*(AuditEvent.before[name].astext.label(name) for name in field_names(FormerPrefixes))).where(
        AuditEvent.organisation_id == ORGANISATION_ID,
        AuditEvent.entity == "organisation",
        AuditEvent.entity_id == ORGANISATION_ID,
        AuditEvent.before.has_any(array(field_names(FormerPrefixes))),
    ),
    FormerPrefixes,
)


class OrganisationRepository:
    """The rows of organisations; permissions are checked by the service."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)

    async def get(self, organisation_id: int) -> Organisation | None:
        return await self._session.get(Organisation, organisation_id)

    async def locked(self, organisation_id: int) -> Organisation | None:
        lock = {"key_share": True}
        return await self._session.get(Organisation, organisation_id, with_for_update=lock, populate_existing=True)

    async def set_logo(self, organisation_id: int, content: bytes | None, digest: str | None) -> None:
        """Replace the logo of a locked organisation, which documents print from then on; None deletes it."""
        old = delete(OrganisationLogo).where(OrganisationLogo.organisation_id == organisation_id)
        await self._session.execute(old)
        if content is not None:
            self._session.add(OrganisationLogo(organisation_id=organisation_id, content=content))
            await self._session.flush()
            printed = insert(DocumentLogo).values(organisation_id=organisation_id, content=content, digest=digest)
            await self._session.execute(printed.on_conflict_do_nothing(index_elements=["organisation_id", "digest"]))

    async def former_prefixes(self, organisation_id: int) -> Sequence[FormerPrefixes]:
        """The prefixes before each change of a prefix, from the audit trail; its tenant has been entered."""
        return await self._executor.rows(_FORMER_PREFIXES, organisation_id=organisation_id)
