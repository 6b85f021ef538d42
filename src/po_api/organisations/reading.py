"""What people read of organisations: their own, and operators all of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from po_api.core.actor import Actor, Principal
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.organisations.errors import OperatorsOnly, OrganisationNotFound
from po_api.organisations.queries import OrganisationQueries


class OrganisationReading:
    """The organisations that somebody may see; OrganisationNotFound for all others."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._queries = OrganisationQueries(executor)

    async def own(self, actor: Actor) -> Any:
        """The columns of the caller's organisation."""
        return await self._queries.get(actor.organisation_id)

    async def visible(self, principal: Principal, organisation_id: int) -> Any:
        """The columns of the caller's own organisation, or of any for an operator."""
        is_visible = organisation_id == principal.organisation_id or principal.is_operator
        organisation = await self._queries.get(organisation_id) if is_visible else None
        if organisation is None:
            raise OrganisationNotFound
        return organisation

    async def members(self, organisation_id: int) -> Sequence[Any]:
        """The columns of all members, by name; the caller has seen that it may."""
        return await self._queries.members(organisation_id)

    async def page(self, principal: Principal, request: PageRequest, *, active_since: datetime | None) -> PageOf[Any]:
        """All organisations, for operators; with `active_since`, those with a member who signed in since then."""
        if not principal.is_operator:
            raise OperatorsOnly
        return await self._queries.page(request, active_since=active_since)
