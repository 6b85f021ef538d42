"""What the planning of an approval looks at in a request, and previews of who will have to approve it.

A submission uses the same functions, so that it does what its preview has shown.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import NamedTuple, Protocol

from sqlalchemy import BigInteger, bindparam, select

from po_api.approval_policies.domain import StepSource
from po_api.approval_policies.facts import DocumentFacts, LineFacts
from po_api.approval_policies.planning import Attention, Preview, WarningCode, preview_for
from po_api.approval_policies.rules import Policy
from po_api.approvals.eligibility import authors_of
from po_api.approvals.machine import Step
from po_api.approvals.queries import Run, RunQueries
from po_api.approvals.service import Resubmission, Started, start, started, unable, with_added
from po_api.core.actor import Actor
from po_api.core.money import PricedLine, TaxRounding, line_net
from po_api.core.offload import offload
from po_api.db.query import Query, QueryExecutor, columns_for
from po_api.porfs import errors
from po_api.porfs.amounts import Priced
from po_api.porfs.content import HASH_VERSION, PorfContent, content_hash, fixed_hash
from po_api.porfs.domain import PorfFacts, PorfStatus, largest_quantity
from po_api.porfs.models import Porf
from po_api.porfs.queries import LockedPorf, PorfLineRow
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.visibility import Visibility, visible
from po_api.structure.domain import Classified
from po_api.structure.queries import StructureQueries


class PlannedLine(Priced, Classified, Protocol):
    """The attributes of a line that the planning looks at."""


class PlannedPorf(Protocol):
    """The attributes of a request that the planning looks at, but for its facts."""

    @property
    def supplier_id(self) -> int | None: ...
    @property
    def currency(self) -> str: ...
    @property
    def tax_rounding(self) -> str: ...


@dataclass(frozen=True)
class PorfPlanRow(PorfContent):
    """A request; `base_rate` is that of its submission."""

    approval_round: int
    base_rate: Decimal | None


class PorfPreview(NamedTuple):
    """What a submission would plan, and the steps as they would be after it. `names` are of those who were added, and
    whose approvals of an earlier submission were looked at."""

    plan: Preview
    steps: Sequence[Step]
    names: Mapping[int, str]


class _Tolerant(NamedTuple):
    """A quantity with the tolerance."""

    quantity: Decimal
    over_order_percent: Decimal


@cache
def _planned(visibility: Visibility) -> Query[PorfPlanRow]:
    porf = select(Porf.__table__).where(visible(visibility), Porf.id == bindparam("porf_id", type_=BigInteger))
    return Query("porfs.planned", select(*columns_for(PorfPlanRow, porf.subquery("porf"))), PorfPlanRow)


def document_facts(
    facts: PorfFacts,
    porf: PlannedPorf,
    lines: Sequence[PlannedLine],
    *,
    author_ids: Collection[int],
    cost_centre_id: int | None,
    base_rate: Decimal | None,
) -> DocumentFacts:
    """What the planning looks at. `author_ids` and `cost_centre_id` are those that the submission writes."""
    return DocumentFacts(
        requester_id=facts.requester_id,
        author_ids=author_ids,
        allow_self_approval=facts.allow_self_approval,
        supplier_id=porf.supplier_id,
        currency=porf.currency,
        tax_rounding=TaxRounding(porf.tax_rounding),
        base_currency=facts.base_currency,
        base_rate=base_rate,
        base_ceiling=facts.base_ceiling,
        lines=line_facts(
            lines, currency=porf.currency, tolerance=facts.over_order_percent, cost_centre_id=cost_centre_id
        ),
    )


def resubmission(
    porf: PorfPlanRow | LockedPorf,
    lines: Sequence[PorfLineRow],
    facts: PorfFacts,
    policy: Policy | None,
    base_ceiling: Decimal | None,
) -> Resubmission:
    """What the approvals of an earlier submission are compared with; the lines have the new tolerance."""
    return Resubmission(
        reapproval_percent=Decimal(0) if policy is None else policy.reapproval_percent,
        reapproval_amount=None if policy is None else policy.reapproval_amount,
        content_hash=content_hash(porf, lines),
        hash_version=HASH_VERSION,
        fixed_hash=fixed_hash(porf, lines),
        supplier_hash=facts.supplier_hash,
        base_ceiling=base_ceiling,
        round=porf.approval_round,
    )


def line_facts(
    lines: Iterable[PlannedLine], *, currency: str, tolerance: Decimal, cost_centre_id: int | None
) -> list[LineFacts]:
    return [
        LineFacts(
            category_id=line.category_id,
            cost_centre_id=cost_centre_id if line.cost_centre_id is None else line.cost_centre_id,
            tax_rate=line.tax_rate,
            net=_largest_net(line, currency, tolerance),
        )
        for line in lines
    ]


def _largest_net(line: Priced, currency: str, tolerance: Decimal) -> Decimal:
    """The net of the quantity that can be ordered at most."""
    quantity = largest_quantity(_Tolerant(line.quantity, tolerance))
    return line_net(PricedLine(quantity, line.unit_price, line.discount_percent, line.tax_rate), currency)


class PorfPlanning:
    """Previews of the approvals of requests that are visible to the actor."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._porfs = PorfReadService(executor, actor)
        self._structure = StructureQueries(executor, actor)
        self._runs = RunQueries(executor, actor)

    async def preview(self, porf_id: int, *, policy_id: int | None = None) -> PorfPreview:
        """Who would have to approve a request if its requester submitted it now, by the published policy or another.

        Raises PorfNotFound, or ApprovalPolicyNotFound.
        """
        facts = await self._porfs.facts(porf_id)

        async def read_facts() -> DocumentFacts:
            return await self._document(porf_id, facts)

        plan = await preview_for(self._executor, self._actor, read_facts, policy_id=policy_id)
        warnings = [*plan.warnings, *await self._in_vain(porf_id, facts, plan)]
        if facts.status != PorfStatus.DRAFT:
            return PorfPreview(plan._replace(warnings=warnings), start(plan.steps).steps, {})
        submission = await self._runs.submission(porf_id)
        request = replace(facts, author_ids=authors_of(facts, facts.requester_id))
        if submission.added:
            warnings = [warning for warning in warnings if warning.code is not WarningCode.NO_DECISION]
        if (reason := unable(submission.added, request)) is not None:
            warnings.append(Attention(WarningCode.NO_APPROVER, reason))
        plan = plan._replace(steps=with_added(plan.steps, submission.added), warnings=warnings)
        outcome, names = await self._started(porf_id, request, plan, submission.previous)
        return PorfPreview(plan, outcome.steps, {**names, **{each.user_id: each.name for each in submission.added}})

    async def _in_vain(self, porf_id: int, facts: PorfFacts, plan: Preview) -> list[Attention]:
        """The warning that any approver is asked, of whom nobody may approve the draft."""
        asks_anybody = any(step.source is StepSource.DEFAULT for step in plan.steps)
        if not asks_anybody or facts.status != PorfStatus.DRAFT or facts.has_approver:
            return []
        refusal = await self._porfs.no_approver(porf_id, facts)
        return [Attention(WarningCode.NO_APPROVER, refusal.detail)]

    async def _started(self, porf_id: int, facts: PorfFacts, plan: Preview, previous: Run | None) -> Started:
        """The run that a submission would open, with the approvals that it would take from the run before."""
        if previous is None or plan.policy is None:
            return Started(start(plan.steps), {})
        porf = await self._porf(porf_id)
        lines = [
            replace(line, over_order_percent=facts.over_order_percent) for line in await self._porfs.lines(porf_id)
        ]
        new = await offload(len(lines), resubmission, porf, lines, facts, plan.policy, facts.base_ceiling)
        return await started(self._runs, previous, plan.steps, facts, new)

    async def _porf(self, porf_id: int) -> PorfPlanRow:
        parameters = {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id}
        porf = await self._executor.row(_planned(Visibility.of(self._actor)), **parameters, porf_id=porf_id)
        if porf is None:
            raise errors.PorfNotFound
        return porf

    async def _document(self, porf_id: int, facts: PorfFacts) -> DocumentFacts:
        porf = await self._porf(porf_id)
        lines = await self._porfs.lines(porf_id)
        is_draft, is_base = facts.status == PorfStatus.DRAFT, porf.currency == facts.base_currency
        return await offload(
            len(lines),
            document_facts,
            facts,
            porf,
            lines,
            author_ids=authors_of(facts, facts.requester_id),
            cost_centre_id=await self._cost_centre(porf) if is_draft else porf.cost_centre_id,
            base_rate=facts.base_rate if is_draft else Decimal(1) if is_base else porf.base_rate,
        )

    async def _cost_centre(self, porf: PorfPlanRow) -> int | None:
        """The cost centre that the submission writes: the one of the text, which the version before may have written
        alone."""
        if porf.cost_centre is None:
            return None
        return await self._structure.cost_centre_named(porf.cost_centre, porf.cost_centre_id)
