"""Locks and changes rows of suppliers."""

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.suppliers.domain import FOR_ORDERS
from po_api.suppliers.models import Supplier, SupplierContact


class SupplierRepository:
    """The rows of the suppliers of the actor's organisation."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._organisation_id = actor.organisation_id

    async def locked(self, supplier_id: int) -> Supplier | None:
        statement = (
            select(Supplier)
            .where(Supplier.organisation_id == self._organisation_id, Supplier.id == supplier_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def contact(self, supplier_id: int, contact_id: int) -> SupplierContact | None:
        """A contact of a locked supplier."""
        statement = select(SupplierContact).where(self._of(supplier_id), SupplierContact.id == contact_id)
        return (await self._session.scalars(statement)).one_or_none()

    async def first_contact(self, supplier_id: int) -> SupplierContact | None:
        """The contact of a locked supplier whose address is the supplier's; None if it has none."""
        statement = (
            select(SupplierContact)
            .where(self._of(supplier_id), SupplierContact.is_active, SupplierContact.purpose.in_(FOR_ORDERS))
            .order_by(SupplierContact.id)
            .limit(1)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def write_first_contact(self, supplier: Supplier) -> None:
        """Give the first contact the address of a locked supplier, adding the contact if there is none.

        Without an address, the first contact is deactivated, and the supplier gets the address of the next one, if
        there is one.
        """
        contact = await self.first_contact(supplier.id)
        if supplier.email is not None and contact is not None:
            contact.email = supplier.email
        elif supplier.email is not None:
            self._session.add(
                SupplierContact(
                    organisation_id=self._organisation_id, supplier_id=supplier.id, email=supplier.email, purpose="both"
                )
            )
        elif contact is not None:
            contact.is_active = False
            await self._session.flush()
            following = await self.first_contact(supplier.id)
            supplier.email = None if following is None else following.email
        await self._session.flush()

    def _of(self, supplier_id: int) -> ColumnElement[bool]:
        return and_(
            SupplierContact.organisation_id == self._organisation_id, SupplierContact.supplier_id == supplier_id
        )
