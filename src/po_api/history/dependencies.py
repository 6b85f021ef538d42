"""Dependencies of the handlers that read the audit trail."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.audit import AuditedEntity
from po_api.core.actor import ActorKind
from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.history.queries import SORTS, HistoryQueries
from po_api.web.dependencies import PrincipalDep, executor_of, paging
from po_api.web.filters import CREATED_AT, any_of, filters
from po_api.web.schemas import Id, ShortText


async def _queries(request: Request, principal: PrincipalDep) -> HistoryQueries:
    return HistoryQueries(executor_of(request), principal.actor())


_filters = filters(
    any_of("entity", AuditedEntity, "Any of these kinds of entities"),
    any_of("entity_id", Id, "Any of these entities; requires `entity`"),
    any_of("actor_kind", ActorKind, "Any of these kinds of actors"),
    any_of("actor_id", Id, "Any of these members, also by their API keys"),
    any_of("action", ShortText, "Any of these actions", ["porf.approve"]),
    *CREATED_AT,
)


HistoryQueriesDep = Annotated[HistoryQueries, Depends(_queries)]
AuditFiltersDep = Annotated[Filters, Depends(_filters)]
HistoryPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
