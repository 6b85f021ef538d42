"""Addresses of an organisation: create, update, deactivate."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.addresses.domain import AddressKind
from po_api.addresses.errors import AddressNotFound, TwoAddresses, UnknownAddress
from po_api.addresses.models import Address
from po_api.addresses.queries import AddressQueries
from po_api.addresses.repository import AddressRepository
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.errors import FieldError
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.query import TransactionExecutor


class AddressService:
    """Creates and changes addresses (buyers, admins); it flushes, the caller commits.

    A second active default of a kind violates a constraint (DefaultAddressTaken).
    """

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = AddressRepository(session, actor)
        self._queries = AddressQueries(TransactionExecutor(session), actor)

    async def deliverable(self, address_id: int | None) -> int | None:
        """The id of an active address for deliveries; None for any other."""
        address = None if address_id is None else await self._queries.find(address_id)
        if address is None or not address.is_active or address.kind != AddressKind.DELIVERY:
            return None
        return address.id

    async def require_delivery(self, address_id: int | None, text: str | None, *, is_new: bool = True) -> None:
        """Raise TwoAddresses for an address of the organisation beside a text, and UnknownAddress unless an address
        that is new to its document is an active one for deliveries."""
        if address_id is not None and text is not None:
            raise TwoAddresses(errors=(FieldError("/delivery_address", TwoAddresses.code, TwoAddresses.title),))
        if address_id is not None and is_new and await self.deliverable(address_id) is None:
            problem = FieldError("/delivery_address_id", UnknownAddress.code, UnknownAddress.title)
            raise UnknownAddress(errors=(problem,))

    async def create(self, **values: object) -> Address:
        """Create an address. Raises MissingRole."""
        self._actor.require(Permission.ADDRESSES_WRITE)
        address = Address(organisation_id=self._actor.organisation_id, **values)
        self._session.add(address)
        await self._session.flush()
        await self._record("address.create", address, None, values)
        return address

    async def change(
        self, address_id: int, action: str, *, expected: ExpectedVersions, values: Mapping[str, object]
    ) -> Address:
        """Change an address; `action` is recorded. Raises AddressNotFound, MissingRole or PreconditionFailed."""
        address = await self._repository.locked(address_id)
        if address is None:
            raise AddressNotFound
        self._actor.require(Permission.ADDRESSES_WRITE)
        require_version(address.version, expected)
        before, after = merge_patch.apply(address, values)
        if after:
            address.version += 1
            await self._session.flush()
            await self._record(action, address, before, after)
        return address

    async def deactivate(self, address_id: int, *, expected: ExpectedVersions) -> Address:
        """Deactivate an address, which then is no default."""
        values = {"is_active": False, "is_default": False}
        return await self.change(address_id, "address.deactivate", expected=expected, values=values)

    async def activate(self, address_id: int, *, expected: ExpectedVersions) -> Address:
        """Reactivate an address."""
        return await self.change(address_id, "address.activate", expected=expected, values={"is_active": True})

    async def _record(
        self, action: str, address: Address, before: Mapping[str, object] | None, after: Mapping[str, object]
    ) -> None:
        change = audit.Change(action, "address", address.id, before, after, address.version)
        await audit.record(self._session, self._actor, change)
