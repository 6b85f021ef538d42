"""Locks and changes rows of addresses."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.addresses.models import Address
from po_api.core.actor import Actor


class AddressRepository:
    """The rows of the addresses of the actor's organisation."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._organisation_id = actor.organisation_id

    async def locked(self, address_id: int) -> Address | None:
        statement = (
            select(Address)
            .where(Address.organisation_id == self._organisation_id, Address.id == address_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()
