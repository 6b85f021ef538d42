"""Reading addresses."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, bindparam, select

from po_api.addresses.errors import AddressNotFound
from po_api.addresses.models import Address
from po_api.core.actor import Actor
from po_api.db.filters import Filters, condition
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, Query, QueryExecutor, columns_for

SORTS = ("created_at", "name", "updated_at")


class AddressRow(NamedTuple):
    """An address."""

    id: int
    kind: str
    name: str
    lines: str | None
    street: str | None
    street2: str | None
    city: str | None
    postal_code: str | None
    region: str | None
    country: str | None
    contact: str | None
    phone: str | None
    is_default: bool
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


_ADDRESSES = Address.__table__
_IS_OWN = Address.organisation_id == ORGANISATION_ID
_LIST = Listing("addresses.list", _ADDRESSES, AddressRow, sorts=SORTS, default="created_at")
_ONE = Query(
    "addresses.get",
    select(*columns_for(AddressRow, _ADDRESSES)).where(
        _IS_OWN, Address.id == bindparam("address_id", type_=BigInteger)
    ),
    AddressRow,
)


@dataclass(frozen=True)
class _Chosen:
    """The addresses of one organisation that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        return select(_ADDRESSES).where(_IS_OWN, *(condition(_ADDRESSES, name) for name in sorted(self.narrowed_by)))


class AddressQueries:
    """Reads the addresses of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id

    async def find(self, address_id: int) -> AddressRow | None:
        """An address, or None."""
        await self._executor.enter_tenant(self._organisation_id)
        return await self._executor.row(_ONE, organisation_id=self._organisation_id, address_id=address_id)

    async def get(self, address_id: int) -> AddressRow:
        """An address. Raises AddressNotFound."""
        address = await self.find(address_id)
        if address is None:
            raise AddressNotFound
        return address

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[AddressRow]:
        given = filters.parameters()
        await self._executor.enter_tenant(self._organisation_id)
        parameters = {"organisation_id": self._organisation_id, **given}
        return await _LIST.page(self._executor, _Chosen(frozenset(given)), request, parameters)
