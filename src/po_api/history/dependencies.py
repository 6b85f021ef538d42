"""Dependencies of the handlers that read the audit trail."""

from typing import Annotated

from fastapi import Depends, Query, Request

from po_api.audit import AuditedEntity
from po_api.core.actor import ActorKind
from po_api.db.pagination import PageRequest
from po_api.history.queries import SORTS, AuditFilters, HistoryQueries
from po_api.web.dependencies import PrincipalDep, executor_of, paging
from po_api.web.schemas import Id, Moment, ShortText


async def _queries(request: Request, principal: PrincipalDep) -> HistoryQueries:
    return HistoryQueries(executor_of(request), principal.actor())


async def _filters(
    entity: Annotated[list[AuditedEntity], Query(description="Any of these kinds of entities")] = [],  # noqa: B006
    entity_id: Annotated[list[Id], Query(description="Any of these entities; requires `entity`")] = [],  # noqa: B006
    actor_kind: Annotated[list[ActorKind], Query(description="Any of these kinds of actors")] = [],  # noqa: B006
    actor_id: Annotated[list[Id], Query(description="Any of these members, also by their API keys")] = [],  # noqa: B006
    action: Annotated[list[ShortText], Query(description="Any of these actions", examples=[["porf.approve"]])] = [],  # noqa: B006
    created_at_gte: Annotated[Moment | None, Query(examples=["2026-01-01T00:00:00Z"])] = None,
    created_at_lt: Annotated[Moment | None, Query(examples=["2027-01-01T00:00:00Z"])] = None,
) -> AuditFilters:
    bounds = {"created_at_gte": created_at_gte, "created_at_lt": created_at_lt}
    return AuditFilters(
        entity=entity,
        entity_id=entity_id,
        actor_kind=actor_kind,
        actor_id=actor_id,
        action=action,
        bounds={name: bound for name, bound in bounds.items() if bound is not None},
    )


HistoryQueriesDep = Annotated[HistoryQueries, Depends(_queries)]
AuditFiltersDep = Annotated[AuditFilters, Depends(_filters)]
HistoryPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
