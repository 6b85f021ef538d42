"""Dependencies of the handlers that read the feed."""

from typing import Annotated

from fastapi import Depends, Query, Request

from po_api.events.domain import POSITION, Position
from po_api.events.queries import EventQueries
from po_api.web.dependencies import PrincipalDep, executor_of


async def _queries(request: Request, principal: PrincipalDep) -> EventQueries:
    return EventQueries(executor_of(request), principal.actor())


async def _after(
    after: Annotated[
        str | None,
        Query(pattern=POSITION, description="`next` of the previous response; without it, from the first event on"),
    ] = None,
) -> Position | None:
    return None if after is None else Position.parse(after)


EventQueriesDep = Annotated[EventQueries, Depends(_queries)]
AfterDep = Annotated[Position | None, Depends(_after)]
