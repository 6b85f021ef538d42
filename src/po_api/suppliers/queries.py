"""Reading suppliers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, FromClause, and_, bindparam, func, select

from po_api.core.actor import Actor
from po_api.db.filters import Filters, condition
from po_api.db.pagination import Counts, Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, PlanCacheMode, Query, QueryExecutor, columns_for
from po_api.db.search import Search, spaced
from po_api.external_references.domain import ReferencedEntity
from po_api.external_references.projections import EXTERNAL_FILTERS, has_external_reference
from po_api.organisations.parties import PartyRow
from po_api.suppliers.domain import FOR_ORDERS
from po_api.suppliers.errors import ContactNotFound, SupplierNotFound
from po_api.suppliers.models import Supplier, SupplierContact

SORTS = ("created_at", "name", "updated_at")
CONTACT_SORTS = ("created_at",)


@dataclass(frozen=True)
class SupplierRow(PartyRow):
    """A supplier."""

    id: int
    name: str
    email: str | None
    tax_id: str | None
    address: str | None
    currency: str | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class ContactRow(NamedTuple):
    """A contact of a supplier."""

    id: int
    name: str | None
    email: str
    purpose: str
    is_active: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class SingleContactRow:
    """A contact, with the version of its supplier."""

    id: int
    name: str | None
    email: str
    purpose: str
    is_active: bool
    created_at: datetime
    updated_at: datetime
    supplier_version: int


class OrderContactRow(NamedTuple):
    """An active contact that orders are sent to."""

    id: int
    email: str


_SUPPLIERS, _CONTACTS = Supplier.__table__, SupplierContact.__table__
_SUPPLIER_ID = bindparam("supplier_id", type_=BigInteger)


def _words(suppliers: FromClause) -> ColumnElement[str]:
    c = suppliers.c
    return spaced(c.name, func.coalesce(c.email, ""), func.coalesce(c.tax_id, ""))


_SEARCH = Search(_SUPPLIERS, words=_words)
_LIST = Listing("suppliers.list", _SUPPLIERS, SupplierRow, sorts=SORTS, default="created_at", search=_SEARCH)
_IS_OWN = Supplier.organisation_id == ORGANISATION_ID


_ONE = Query(
    "suppliers.get",
    select(*columns_for(SupplierRow, _SUPPLIERS)).where(_IS_OWN, Supplier.id == _SUPPLIER_ID),
    SupplierRow,
)
_CONTACT_LIST = Listing("suppliers.contacts", _CONTACTS, ContactRow, sorts=CONTACT_SORTS, default="created_at")
_ARE_OF_SUPPLIER = and_(SupplierContact.organisation_id == ORGANISATION_ID, SupplierContact.supplier_id == _SUPPLIER_ID)


def _one_contact() -> Query[SingleContactRow]:
    version = select(Supplier.version).where(_IS_OWN, Supplier.id == _SUPPLIER_ID).scalar_subquery()
    statement = select(*columns_for(ContactRow, _CONTACTS), version.label("supplier_version")).where(
        _ARE_OF_SUPPLIER, SupplierContact.id == bindparam("contact_id", type_=BigInteger)
    )
    return Query("suppliers.contact", statement, SingleContactRow)


_ONE_CONTACT = _one_contact()


_ORDER_CONTACTS = Query(
    "suppliers.order_contacts",
    select(SupplierContact.id, SupplierContact.email)
    .where(_ARE_OF_SUPPLIER, SupplierContact.is_active, SupplierContact.purpose.in_(FOR_ORDERS))
    .order_by(SupplierContact.id),
    OrderContactRow,
)


def _contacts_of_supplier() -> AnySelect:
    return select(_CONTACTS).where(_ARE_OF_SUPPLIER)


@dataclass(frozen=True)
class _Chosen:
    """The suppliers of one organisation that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        conditions = [condition(_SUPPLIERS, name) for name in sorted(self.narrowed_by - EXTERNAL_FILTERS)]
        if external := self.narrowed_by & EXTERNAL_FILTERS:
            conditions.append(has_external_reference(_SUPPLIERS, ReferencedEntity.SUPPLIER, external))
        return select(_SUPPLIERS).where(_IS_OWN, *conditions)


class SupplierQueries:
    """Reads the suppliers of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id

    async def find(self, supplier_id: int) -> SupplierRow | None:
        """A supplier, or None."""
        await self._executor.enter_tenant(self._organisation_id)
        return await self._executor.row(_ONE, organisation_id=self._organisation_id, supplier_id=supplier_id)

    async def get(self, supplier_id: int) -> SupplierRow:
        """A supplier. Raises SupplierNotFound."""
        supplier = await self.find(supplier_id)
        if supplier is None:
            raise SupplierNotFound
        return supplier

    async def contacts(self, supplier_id: int, request: PageRequest) -> PageOf[ContactRow]:
        """The contacts of a supplier. Raises SupplierNotFound."""
        await self.get(supplier_id)
        parameters = {"organisation_id": self._organisation_id, "supplier_id": supplier_id}
        return await _CONTACT_LIST.page(self._executor, _contacts_of_supplier, request, parameters)

    async def contact(self, supplier_id: int, contact_id: int) -> SingleContactRow:
        """A contact of a supplier. Raises SupplierNotFound or ContactNotFound."""
        await self.get(supplier_id)
        parameters = {"organisation_id": self._organisation_id, "supplier_id": supplier_id}
        contact = await self._executor.row(_ONE_CONTACT, **parameters, contact_id=contact_id)
        if contact is None:
            raise ContactNotFound
        return contact

    async def order_contacts(self, supplier_id: int) -> Sequence[OrderContactRow]:
        """The active contacts of a supplier that orders are sent to, oldest first."""
        await self._executor.enter_tenant(self._organisation_id)
        return await self._executor.rows(
            _ORDER_CONTACTS, organisation_id=self._organisation_id, supplier_id=supplier_id
        )

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[SupplierRow]:
        chosen, parameters = await self._enter(filters)
        return await _LIST.page(self._executor, chosen, request, parameters)

    async def count(self, filters: Filters, *, limit: int) -> int:
        """The number of suppliers on the list, at most `limit`."""
        chosen, parameters = await self._enter(filters)
        return await _LIST.count(self._executor, chosen, parameters, limit=limit)

    async def counts(self, filters: Filters, group_by: str) -> Counts:
        """The numbers of suppliers for each value of a column."""
        chosen, parameters = await self._enter(filters)
        return await _LIST.counts(self._executor, chosen, group_by, parameters)

    async def _enter(self, filters: Filters) -> tuple[_Chosen, dict[str, object]]:
        """Enter the tenant for a list; returns its suppliers, and the parameters of its filters."""
        given = filters.parameters()
        plans = PlanCacheMode.CUSTOM if given else PlanCacheMode.GENERIC
        await self._executor.enter_tenant(self._organisation_id, plan_cache_mode=plans)
        return _Chosen(frozenset(given) - {"q"}), {"organisation_id": self._organisation_id, **given}
