"""Suppliers of an organisation: create, update, deactivate."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.parties import require_whole_identifiers
from po_api.core.permissions import Permission
from po_api.core.text import name_key
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.query import TransactionExecutor
from po_api.organisations.parties import after_change
from po_api.suppliers.errors import SupplierNotFound
from po_api.suppliers.models import Supplier
from po_api.suppliers.queries import SupplierQueries, SupplierRow
from po_api.suppliers.repository import SupplierRepository


class SupplierService:
    """Creates and changes suppliers; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = SupplierRepository(session, actor)
        self._queries = SupplierQueries(TransactionExecutor(session), actor)

    async def find_active(self, supplier_id: int) -> SupplierRow | None:
        """An active supplier, from which the organisation may order; None for any other."""
        supplier = await self._queries.find(supplier_id)
        return supplier if supplier is not None and supplier.is_active else None

    async def create(self, *, name: str, **values: object) -> Supplier:
        """Create a supplier (buyers, admins). A name in use violates a constraint (SupplierNameTaken).

        Raises IncompleteIdentifier or InvalidGln."""
        self._actor.require(Permission.SUPPLIERS_WRITE)
        require_whole_identifiers(after_change(None, values))
        supplier = Supplier(organisation_id=self._actor.organisation_id, name=name, name_key=name_key(name), **values)
        self._session.add(supplier)
        await self._session.flush()
        if supplier.email is not None:
            await self._repository.write_first_contact(supplier)
        given = {field: value for field, value in values.items() if value is not None}
        await self._record("supplier.create", supplier, None, {"name": name, **given})
        return supplier

    async def update(self, supplier_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]) -> Supplier:
        """Change a supplier (buyers, admins). Draft orders follow its contact data.

        `email` is the address of the first contact, which is changed, too. Raises ContactExists by a constraint,
        IncompleteIdentifier or InvalidGln.
        """
        named = {**values, "name_key": name_key(str(values["name"]))} if "name" in values else dict(values)
        return await self._change(supplier_id, "supplier.update", named, expected)

    async def set_active(self, supplier_id: int, *, active: bool, expected: ExpectedVersions) -> Supplier:
        """Deactivate or reactivate a supplier (buyers, admins)."""
        action = "supplier.activate" if active else "supplier.deactivate"
        return await self._change(supplier_id, action, {"is_active": active}, expected)

    async def _change(
        self, supplier_id: int, action: str, values: Mapping[str, object], expected: ExpectedVersions
    ) -> Supplier:
        supplier = await self._repository.locked(supplier_id)
        if supplier is None:
            raise SupplierNotFound
        self._actor.require(Permission.SUPPLIERS_WRITE)
        require_version(supplier.version, expected)
        require_whole_identifiers(after_change(supplier, values))
        before, after = merge_patch.apply(supplier, values)
        if "email" in after:
            await self._repository.write_first_contact(supplier)
            after["email"] = supplier.email
        if after:
            supplier.version += 1
            await self._record(action, supplier, before, after)
        return supplier

    async def _record(
        self, action: str, supplier: Supplier, before: Mapping[str, object] | None, after: Mapping[str, object]
    ) -> None:
        change = audit.Change(action, "supplier", supplier.id, before, after, supplier.version)
        await audit.record(self._session, self._actor, change)
