"""Dependencies of the timelines' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.merged_listing import SORT
from po_api.db.pagination import PageRequest
from po_api.timeline.queries import TimelineQueries
from po_api.web.dependencies import PrincipalDep, executor_of, paging


async def _queries(request: Request, principal: PrincipalDep) -> TimelineQueries:
    return TimelineQueries(executor_of(request), principal.actor())


TimelineQueriesDep = Annotated[TimelineQueries, Depends(_queries)]
TimelinePaging = Annotated[PageRequest, Depends(paging(SORT))]
