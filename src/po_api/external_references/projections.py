"""The condition of lists that are filtered by external ids."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, FromClause, Text, bindparam, select, true

from po_api.db.query import ORGANISATION_ID
from po_api.external_references.domain import ReferencedEntity
from po_api.external_references.models import ExternalReference

_COLUMNS = {
    "external_system": ExternalReference.system,
    "external_id": ExternalReference.external_id,
}
EXTERNAL_FILTERS = frozenset(_COLUMNS)


def has_external_reference(rows: FromClause, entity: ReferencedEntity, names: Collection[str]) -> ColumnElement[bool]:
    """Whether a row of the outer query has one reference with the values of the filters `names`."""
    values = (_COLUMNS[name] == bindparam(name, type_=Text) for name in sorted(names))
    references = ExternalReference.__table__
    found = select(true()).where(
        ExternalReference.organisation_id == ORGANISATION_ID,
        ExternalReference.entity == entity,
        references.c[f"{entity}_id"] == rows.c.id,
        *values,
    )
    return found.correlate(rows).exists()
