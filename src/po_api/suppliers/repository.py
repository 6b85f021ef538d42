"""Locks and changes rows of suppliers."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.suppliers.models import Supplier


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
