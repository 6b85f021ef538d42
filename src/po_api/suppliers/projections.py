"""Columns of suppliers for the statements of other features."""

from typing import Any

from sqlalchemy import Column, ColumnElement, func, select, true

from po_api.db.query import ORGANISATION_ID
from po_api.suppliers.models import Supplier


def supplier_is_active(supplier_id: Column[int] | Column[int | None] | ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the supplier whose id is in a column of the outer query is active; true where there is no supplier.

    Not a join: PostgreSQL may execute one by hashing all suppliers, for a page of fifty rows.
    """
    found = select(Supplier.is_active).where(Supplier.organisation_id == ORGANISATION_ID, Supplier.id == supplier_id)
    return func.coalesce(found.correlate(supplier_id.table).scalar_subquery(), true())


def supplier_value(supplier_id: Column[int] | ColumnElement[int], name: str) -> ColumnElement[Any]:
    """A column of the supplier whose id is in a column of the outer query."""
    column = Supplier.__table__.c[name]
    found = select(column).where(Supplier.organisation_id == ORGANISATION_ID, Supplier.id == supplier_id)
    return found.correlate(supplier_id.table).scalar_subquery()
