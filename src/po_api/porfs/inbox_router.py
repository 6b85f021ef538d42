"""/approvals: the steps of approvals that ask a member."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, Query, Request, Response
from pydantic import Field

from po_api.approvals.domain import InboxState
from po_api.core.permissions import Permission
from po_api.db.pagination import PageRequest
from po_api.porfs.inbox import INBOX_SORTS, InboxQueries
from po_api.web.dependencies import PrincipalDep, executor_of, page_of_json, paging
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import AmountString, Id, Page, Schema

router = api_router(prefix="/approvals", tags=["porfs"])

InboxPaging = Annotated[PageRequest, Depends(paging(*INBOX_SORTS))]
WaitingFor = Annotated[
    Literal["me"] | Id, Query(description="`me`, or the id of a member: with the role `admin` or `auditor`")
]
State = Annotated[
    InboxState,
    Query(description="`active`: what the member may approve now; `waiting`: what will ask them after earlier steps"),
]


class WaitingPorfRead(Schema):
    """A request that waits for a decision."""

    id: int
    number: str = Field(examples=["PORF-2026-000001"])
    title: str
    requester_id: int
    requester_name: str = Field(examples=["Rosa Requester"])
    currency: str
    total: AmountString = Field(examples=["298.80"])
    base_currency: str | None = Field(examples=["EUR"])
    base_total: AmountString | None = Field(examples=["298.80"])
    version: int


class InboxItemRead(Schema):
    """A step of an approval that asks a member."""

    step_id: int
    step_name: str = Field(examples=["Owner of the cost centre"])
    stage: int
    activated_at: datetime | None = Field(
        description="Since when it can be approved; null if it has always waited for earlier steps"
    )
    on_behalf_of_id: int | None = Field(description="The member for whom they decide, if not for themselves")
    on_behalf_of_name: str | None = Field(examples=["Max Manager"])
    porf: WaitingPorfRead


class InboxPage(Page):
    """One page of steps that ask a member."""

    items: list[InboxItemRead]


async def _inbox(request: Request, principal: PrincipalDep) -> InboxQueries:
    return InboxQueries(executor_of(request), principal.actor())


@router.get(
    "",
    operation_id="listApprovals",
    summary="List approvals that ask a member",
    response_model=InboxPage,
    responses=problems(403),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def list_approvals(
    request: Request,
    inbox: Annotated[InboxQueries, Depends(_inbox)],
    paging: InboxPaging,
    waiting_for: WaitingFor = "me",
    state: State = InboxState.ACTIVE,
) -> Response:
    """The steps that the member may approve now, for themselves or for others, the oldest first (`activated_at`): those
    of the requests with `waiting_for_me=true`. With `state=waiting`, those that they could approve if the steps before
    were decided, in the order of their ids (`id`)."""
    user_id = None if waiting_for == "me" else int(waiting_for)
    return page_of_json(request, await inbox.page(paging, state, user_id=user_id))
