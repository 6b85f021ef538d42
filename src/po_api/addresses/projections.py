"""Addresses for the statements of other features, as JSON with the fields that orders copy."""

from sqlalchemy import ColumnElement, and_, select, true
from sqlalchemy.sql.elements import KeyedColumnElement

from po_api.addresses.domain import COPIED_FIELDS, AddressKind
from po_api.addresses.models import Address
from po_api.db.json_sql import columns_of, json_object
from po_api.db.query import ORGANISATION_ID, AnyColumn

_ADDRESSES = Address.__table__


def address_json(address_id: KeyedColumnElement[int]) -> ColumnElement[str]:
    """The address whose id is in a column of the outer query; NULL where there is none."""
    return _json(Address.id == address_id, correlated=address_id)


def default_address_json(kind: AddressKind) -> ColumnElement[str]:
    """The default address of this kind; NULL if there is none."""
    return _json(_is_default(kind))


def default_address_id(kind: AddressKind) -> AnyColumn:
    """The id of the default address of this kind; NULL if there is none."""
    found = select(Address.id).where(Address.organisation_id == ORGANISATION_ID, _is_default(kind))
    return found.scalar_subquery()


def _is_default(kind: AddressKind) -> ColumnElement[bool]:
    return and_(Address.kind == kind, Address.is_default, Address.is_active)


def _json(chosen: ColumnElement[bool], correlated: KeyedColumnElement[int] | None = None) -> ColumnElement[str]:
    item, text = json_object("copied", columns_of(_ADDRESSES, COPIED_FIELDS))
    found = select(text).select_from(_ADDRESSES.join(item, true()))
    found = found.where(Address.organisation_id == ORGANISATION_ID, chosen)
    if correlated is not None:
        found = found.correlate(correlated.table)
    return found.scalar_subquery()
