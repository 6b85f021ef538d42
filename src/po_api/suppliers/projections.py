"""Columns of suppliers for the statements of other features."""

from sqlalchemy import Column, ColumnElement, Text, and_, false, func, select, true, type_coerce

from po_api.db.query import ORGANISATION_ID, AnyColumn
from po_api.suppliers.identity import IDENTITY_FIELDS
from po_api.suppliers.models import Supplier

SupplierId = Column[int] | Column[int | None] | ColumnElement[int]


def supplier_is_active(supplier_id: SupplierId) -> ColumnElement[bool]:
    """Whether the supplier whose id is in a column of the outer query is active; true where there is no supplier.

    Not a join: PostgreSQL may execute one by hashing all suppliers, for a page of fifty rows.
    """
    return func.coalesce(_of(supplier_id, Supplier.__table__.c.is_active), true())


def supplier_hash(supplier_id: SupplierId) -> ColumnElement[str | None]:
    """`identity.identity_hash` of that supplier; NULL where there is none."""
    values = (func.coalesce(Supplier.__table__.c[name], "") for name in IDENTITY_FIELDS)
    digests = func.concat(*(func.encode(func.sha256(func.convert_to(value, "UTF8")), "hex") for value in values))
    return _of(supplier_id, type_coerce(digests, Text))


def keeps_identity(supplier_id: SupplierId, **snapshot: ColumnElement[str | None]) -> ColumnElement[bool]:
    """Whether the fields of that supplier's identity have the values of `snapshot`."""
    same = (
        func.coalesce(Supplier.__table__.c[name], "") == func.coalesce(value, "") for name, value in snapshot.items()
    )
    return func.coalesce(_of(supplier_id, and_(*same)), false())


def supplier_value(supplier_id: SupplierId, name: str) -> AnyColumn:
    """A column of that supplier."""
    return _of(supplier_id, Supplier.__table__.c[name])


def _of(supplier_id: SupplierId, column: AnyColumn) -> AnyColumn:
    found = select(column).where(Supplier.organisation_id == ORGANISATION_ID, Supplier.id == supplier_id)
    return found.correlate(supplier_id.table).scalar_subquery()
