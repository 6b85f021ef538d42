"""Columns of suppliers for the statements of other features."""

from sqlalchemy import Boolean, Column, ColumnElement, FromClause, Text, and_, func, select, true, type_coerce

from po_api.db.fences import fenced
from po_api.db.query import ORGANISATION_ID, AnyColumn
from po_api.suppliers.identity import IDENTITY_FIELDS, digest_of
from po_api.suppliers.models import Supplier

SupplierId = Column[int] | Column[int | None] | ColumnElement[int]


def supplier_of(supplier_id: SupplierId) -> FromClause:
    """`name` and `is_active` of the supplier whose id is in a column of the outer query; to join LEFT on true."""
    is_it = and_(Supplier.organisation_id == ORGANISATION_ID, Supplier.id == supplier_id)
    return fenced(select(Supplier.name, Supplier.is_active).where(is_it).correlate(supplier_id.table), "supplier")


def supplier_is_active(supplier_id: SupplierId) -> ColumnElement[bool]:
    """Whether the supplier whose id is in a column of the outer query is active; true where there is no supplier.

    Not a join: PostgreSQL may execute one by hashing all suppliers, for a page of fifty rows.
    """
    return func.coalesce(_of(supplier_id, Supplier.__table__.c.is_active), true())


def supplier_hash(supplier_id: SupplierId) -> ColumnElement[str | None]:
    """`identity.identity_hash` of that supplier; NULL where there is none."""
    return _of(supplier_id, digest_sql(*(Supplier.__table__.c[name] for name in IDENTITY_FIELDS)))


def digest_sql(*values: ColumnElement[str | None]) -> ColumnElement[str]:
    """`identity.digest_of` these values."""
    # Most suppliers lack most of the fields, for which nothing is computed.
    digests = (func.encode(func.sha256(func.convert_to(value, "UTF8")), "hex") for value in values)
    return type_coerce(func.concat(*(func.coalesce(digest, digest_of("")) for digest in digests)), Text)


def keeps_identity(supplier_id: SupplierId, digest: ColumnElement[str | None]) -> ColumnElement[bool]:
    """Whether that supplier has the identity of the digest; NULL without a supplier or a digest."""
    return type_coerce(func.starts_with(supplier_hash(supplier_id), digest), Boolean)


def supplier_value(supplier_id: SupplierId, name: str) -> AnyColumn:
    """A column of that supplier."""
    return _of(supplier_id, Supplier.__table__.c[name])


def _of(supplier_id: SupplierId, column: AnyColumn) -> AnyColumn:
    found = select(column).where(Supplier.organisation_id == ORGANISATION_ID, Supplier.id == supplier_id)
    return found.correlate(supplier_id.table).scalar_subquery()
