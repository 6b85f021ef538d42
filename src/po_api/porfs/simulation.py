"""Simulations of approvals: who would have to approve a request that does not exist."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Text, bindparam, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_policies.facts import DocumentFacts
from po_api.approval_policies.planning import preview_for
from po_api.approvals.service import start
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.money import TaxRounding
from po_api.core.offload import offload
from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.exchange_rates.projections import rate_now
from po_api.organisations.models import Organisation
from po_api.organisations.queries import OrganisationQueries
from po_api.porfs import errors
from po_api.porfs.planning import PlannedLine, PorfPreview, line_facts
from po_api.structure.service import StructureService
from po_api.suppliers.service import SupplierService


class RequestedPlan(NamedTuple):
    """A request that does not exist. `currency` None is the organisation's."""

    requester_id: int
    supplier_id: int | None
    cost_centre_id: int | None
    currency: str | None
    lines: Sequence[PlannedLine]


class _Rate(NamedTuple):
    """A rate into the base currency; None if it is not known."""

    rate: Decimal | None


_DOCUMENT = select(cast(bindparam("currency", type_=Text), Text).label("currency")).subquery("document")
_RATE_NOW = Query(
    "porfs.rate_now",
    select(rate_now(_DOCUMENT).label("rate")).select_from(
        _DOCUMENT.join(Organisation, Organisation.id == ORGANISATION_ID)
    ),
    _Rate,
)


class PorfSimulation:
    """Previews of the approvals of requests that do not exist."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._executor = TransactionExecutor(session)

    async def simulate(self, requested: RequestedPlan, *, policy_id: int) -> PorfPreview:
        """Who would have to approve a request with these lines. Raises UnknownRequester or ApprovalPolicyNotFound, or
        what the creation of a request raises for a supplier, cost centre or category that is not active."""

        async def read_facts() -> DocumentFacts:
            return await self._facts(requested)

        preview = await preview_for(self._executor, self._actor, read_facts, policy_id=policy_id)
        if requested.requester_id not in preview.people.persons:
            raise errors.UnknownRequester.at("/requester_id")
        await self._require_known(requested)
        return PorfPreview(preview, start(preview.steps).steps, {})

    async def _require_known(self, requested: RequestedPlan) -> None:
        supplier_id, cost_centre_id = requested.supplier_id, requested.cost_centre_id
        structure = StructureService(self._session, self._actor)
        suppliers = SupplierService(self._session, self._actor)
        if supplier_id is not None and await suppliers.find_active(supplier_id) is None:
            raise errors.UnknownSupplier.at("/supplier_id")
        if cost_centre_id is not None:
            await structure.require_cost_centre(cost_centre_id, None)
        await structure.require_active(requested.lines, pointer="/lines/{}")

    async def _facts(self, requested: RequestedPlan) -> DocumentFacts:
        organisation = await OrganisationQueries(self._executor).own(self._actor)
        currency = requested.currency or organisation.currency
        parameters = {"organisation_id": self._actor.organisation_id, "currency": currency, "now": utc_now()}
        found = await self._executor.row(_RATE_NOW, **parameters)
        lines = await offload(
            len(requested.lines),
            line_facts,
            requested.lines,
            currency=currency,
            tolerance=organisation.over_order_percent,
            cost_centre_id=requested.cost_centre_id,
        )
        facts = DocumentFacts(
            requester_id=requested.requester_id,
            author_ids=(requested.requester_id,),
            allow_self_approval=organisation.allow_self_approval,
            supplier_id=requested.supplier_id,
            currency=currency,
            tax_rounding=TaxRounding(organisation.tax_rounding),
            base_currency=organisation.currency,
            base_rate=None if found is None else found.rate,
            base_ceiling=None,
            lines=lines,
        )
        return replace(facts, base_ceiling=facts.amount_of(lines))
