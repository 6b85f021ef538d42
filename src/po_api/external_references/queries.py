"""Reading external references."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, FromClause, bindparam, func, select

from po_api.core.actor import Actor
from po_api.db.filters import Filters, compare
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, Query, QueryExecutor
from po_api.external_references.errors import ExternalReferenceNotFound
from po_api.external_references.models import ExternalReference

SORTS = ("created_at",)


class ReferenceRow(NamedTuple):
    """An external reference."""

    id: int
    entity: str
    entity_id: int
    system: str
    external_id: str
    created_at: datetime


_REFERENCES = ExternalReference.__table__
_IS_OWN = ExternalReference.organisation_id == ORGANISATION_ID


def _entity_id(references: FromClause) -> AnyColumn:
    c = references.c
    return func.coalesce(c.supplier_id, c.porf_id, c.purchase_order_id)


def _show(references: FromClause) -> AnySelect:
    c = references.c
    return select(c.id, c.entity, _entity_id(references).label("entity_id"), c.system, c.external_id, c.created_at)


_LIST = Listing("external_references.list", _REFERENCES, ReferenceRow, sorts=SORTS, default="created_at", show=_show)
# The columns that the filters look at.
_FILTERED: Mapping[str, AnyColumn] = {
    "entity": _REFERENCES.c.entity,
    "entity_id": _entity_id(_REFERENCES),
    "external_system": _REFERENCES.c.system,
    "external_id": _REFERENCES.c.external_id,
}
_IDENTIFIED = ("system", "entity", "external_id")
_BY_EXTERNAL_ID = Query(
    "external_references.by_external_id",
    _show(_REFERENCES).where(
        _IS_OWN, *(_REFERENCES.c[name] == bindparam(name, type_=_REFERENCES.c[name].type) for name in _IDENTIFIED)
    ),
    ReferenceRow,
)
_ONE = Query(
    "external_references.get",
    _show(_REFERENCES).where(_IS_OWN, ExternalReference.id == bindparam("reference_id", type_=BigInteger)),
    ReferenceRow,
)


@dataclass(frozen=True)
class _Chosen:
    """The references of one organisation that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        conditions = (compare(_FILTERED[name], name) for name in sorted(self.narrowed_by))
        return select(_REFERENCES).where(_IS_OWN, *conditions)


class ExternalReferenceQueries:
    """Reads the external references of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id

    async def get(self, reference_id: int) -> ReferenceRow:
        """A reference. Raises ExternalReferenceNotFound."""
        await self._executor.enter_tenant(self._organisation_id)
        found = await self._executor.row(_ONE, organisation_id=self._organisation_id, reference_id=reference_id)
        if found is None:
            raise ExternalReferenceNotFound
        return found

    async def find(self, system: str, entity: str, external_id: str) -> ReferenceRow | None:
        """The reference with this external id, or None."""
        await self._executor.enter_tenant(self._organisation_id)
        identified = {"system": system, "entity": entity, "external_id": external_id}
        return await self._executor.row(_BY_EXTERNAL_ID, organisation_id=self._organisation_id, **identified)

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[ReferenceRow]:
        given = filters.parameters()
        await self._executor.enter_tenant(self._organisation_id)
        parameters = {"organisation_id": self._organisation_id, **given}
        return await _LIST.page(self._executor, _Chosen(frozenset(given)), request, parameters)
