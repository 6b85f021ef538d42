"""Contacts of suppliers: add, change, deactivate.

A contact is part of its supplier, as a line is of its request: a change of it is a change of the supplier, with the
supplier's version. The supplier's `email` is the address of its first contact (models.SupplierContact).
"""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions, require_version
from po_api.suppliers.errors import ContactNotFound, SupplierNotFound
from po_api.suppliers.models import Supplier, SupplierContact
from po_api.suppliers.repository import SupplierRepository


class ContactService:
    """Changes contacts (buyers, admins); it flushes, the caller commits. Methods return the contact and the supplier's
    version. An address that another active contact of the supplier has violates a constraint (ContactExists)."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = SupplierRepository(session, actor)

    async def add(
        self, supplier_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]
    ) -> tuple[SupplierContact, int]:
        """Add a contact. Raises SupplierNotFound, MissingRole or PreconditionFailed."""
        supplier = await self._locked(supplier_id, expected)
        contact = SupplierContact(organisation_id=supplier.organisation_id, supplier_id=supplier_id, **values)
        self._session.add(contact)
        await self._session.flush()
        await self._finish("supplier.add_contact", supplier, contact, None, values)
        return contact, supplier.version

    async def change(
        self,
        supplier_id: int,
        contact_id: int,
        action: str,
        *,
        expected: ExpectedVersions,
        values: Mapping[str, object],
    ) -> tuple[SupplierContact, int]:
        """Change a contact; `action` is recorded. Raises ContactNotFound, and what `add` raises."""
        supplier = await self._locked(supplier_id, expected)
        contact = await self._repository.contact(supplier_id, contact_id)
        if contact is None:
            raise ContactNotFound
        before, after = merge_patch.apply(contact, values)
        if after:
            await self._session.flush()
            await self._finish(action, supplier, contact, before, after)
        return contact, supplier.version

    async def _locked(self, supplier_id: int, expected: ExpectedVersions) -> Supplier:
        supplier = await self._repository.locked(supplier_id)
        if supplier is None:
            raise SupplierNotFound
        self._actor.require(Permission.SUPPLIERS_WRITE)
        require_version(supplier.version, expected)
        return supplier

    async def _finish(
        self,
        action: str,
        supplier: Supplier,
        contact: SupplierContact,
        before: Mapping[str, object] | None,
        after: Mapping[str, object],
    ) -> None:
        """Give the supplier the address of its first contact, and record the change of both."""
        first = await self._repository.first_contact(supplier.id)
        was, now = merge_patch.apply(supplier, {"email": None if first is None else first.email})
        supplier.version += 1
        of_contact = {"contact_id": contact.id}
        recorded = audit.Change(
            action,
            "supplier",
            supplier.id,
            None if before is None and not was else {**of_contact, **({"contact": before} if before else {}), **was},
            {**of_contact, "contact": dict(after), **now},
            supplier.version,
        )
        await audit.record(self._session, self._actor, recorded)
