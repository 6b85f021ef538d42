"""Reading approval policies, and what their rules refer to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, FromClause, Text, and_, any_, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.approval_policies.errors import ApprovalPolicyNotFound, ApprovalRuleNotFound
from po_api.approval_policies.models import ApprovalPolicy, ApprovalRule
from po_api.approval_policies.references import Known, Reference, Target, ids_of
from po_api.approval_policies.tables_above import APPROVAL_RUNS
from po_api.core.actor import Actor
from po_api.core.permissions import GRANTS, Permission
from po_api.core.records import field_names
from po_api.db.filters import Filters, condition
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, Query, QueryExecutor
from po_api.members.models import Member
from po_api.members.projections import member_name
from po_api.structure.models import ApprovalGroup, ApprovalGroupMember, Category, CostCentre, Team
from po_api.suppliers.models import Supplier

SORTS = ("created_at",)
RULE_SORTS = ("stage", "position")


class PolicyRow(NamedTuple):
    """A version of a policy."""

    id: int
    document_type: str
    version_no: int
    status: str
    no_rule: str
    carry: str
    reapproval_percent: Decimal
    reapproval_amount: Decimal | None
    published_at: datetime | None
    published_by_id: int | None
    published_by_name: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class RuleRow(NamedTuple):
    """A rule; `conditions` and `approvers` are JSON."""

    id: int
    stage: int
    position: int
    name: str
    conditions: str
    approvers: str
    required_count: int | None
    enforce_limit: bool
    on_empty: str
    on_empty_group_id: int | None
    remind_after_hours: int | None
    escalate_after_hours: int | None
    escalate_to: str | None
    escalation_group_id: int | None
    comment_required: bool
    created_at: datetime
    updated_at: datetime


class _Count(NamedTuple):
    """A number of rows."""

    row_count: int


_POLICIES, _RULES = ApprovalPolicy.__table__, ApprovalRule.__table__
_GROUPS, _GROUP_MEMBERS, _MEMBERS = ApprovalGroup.__table__, ApprovalGroupMember.__table__, Member.__table__
_POLICY_ID = bindparam("policy_id", type_=BigInteger)
_APPROVERS = sorted(GRANTS[Permission.PORFS_DECIDE].roles)


def _show(policies: FromClause) -> AnySelect:
    columns = [
        member_name(policies.c.published_by_id).label(name) if name == "published_by_name" else policies.c[name]
        for name in field_names(PolicyRow)
    ]
    return select(*columns)


def _show_rule(rules: FromClause) -> AnySelect:
    as_text = {"conditions", "approvers"}
    columns = [
        cast(rules.c[name], Text).label(name) if name in as_text else rules.c[name] for name in field_names(RuleRow)
    ]
    return select(*columns)


_LIST = Listing("approval_policies.list", _POLICIES, PolicyRow, sorts=SORTS, default="-created_at", show=_show)
_RULE_LIST = Listing(
    "approval_policies.rules", _RULES, RuleRow, sorts=RULE_SORTS, default="stage,position", show=_show_rule
)
_ONE = Query(
    "approval_policies.get",
    _show(_POLICIES).where(_POLICIES.c.organisation_id == ORGANISATION_ID, _POLICIES.c.id == _POLICY_ID),
    PolicyRow,
)
_IS_RULE_OF_POLICY = and_(_RULES.c.organisation_id == ORGANISATION_ID, _RULES.c.policy_id == _POLICY_ID)
_RULES_OF_POLICY = Query(
    "approval_policies.all_rules",
    _show_rule(_RULES).where(_IS_RULE_OF_POLICY).order_by(_RULES.c.stage, _RULES.c.position, _RULES.c.id),
    RuleRow,
)
_OPEN_RUNS = Query(
    "approval_policies.open_runs",
    select(func.count().label("row_count"))
    .select_from(APPROVAL_RUNS)
    .where(
        APPROVAL_RUNS.c.organisation_id == ORGANISATION_ID,
        APPROVAL_RUNS.c.status == "open",
        APPROVAL_RUNS.c.policy_id.is_distinct_from(_POLICY_ID),
    ),
    _Count,
)


def _rules_of_policy() -> AnySelect:
    return select(_RULES).where(_IS_RULE_OF_POLICY)


def _usable(table: FromClause, target: Target, *, key: str = "id") -> AnyColumn:
    """Those of the given ids that active rows of the table have."""
    ids = bindparam(target.name, type_=ARRAY(BigInteger))
    found = select(table.c[key]).where(table.c.organisation_id == ORGANISATION_ID, table.c[key] == any_(ids))
    return func.array(found.where(table.c.is_active).scalar_subquery())


def _known() -> Query[Known]:
    may_decide = and_(_MEMBERS.c.is_active, _MEMBERS.c.roles.overlap(_APPROVERS))
    approvers = select(_MEMBERS.c.user_id).where(
        _MEMBERS.c.organisation_id == ORGANISATION_ID,
        _MEMBERS.c.user_id == any_(bindparam(Target.MEMBER.name, type_=ARRAY(BigInteger))),
        may_decide,
    )
    staffed = (
        select(_GROUP_MEMBERS.c.group_id)
        .join(
            _MEMBERS,
            and_(_MEMBERS.c.organisation_id == ORGANISATION_ID, _MEMBERS.c.user_id == _GROUP_MEMBERS.c.user_id),
        )
        .where(
            _GROUP_MEMBERS.c.organisation_id == ORGANISATION_ID,
            _GROUP_MEMBERS.c.group_id == any_(bindparam(Target.GROUP.name, type_=ARRAY(BigInteger))),
            may_decide,
        )
    )
    statement = select(
        _usable(CostCentre.__table__, Target.COST_CENTRE).label("cost_centres"),
        _usable(Category.__table__, Target.CATEGORY).label("categories"),
        _usable(Supplier.__table__, Target.SUPPLIER).label("suppliers"),
        _usable(Team.__table__, Target.TEAM).label("teams"),
        _usable(_MEMBERS, Target.MEMBER, key="user_id").label("members"),
        _usable(_GROUPS, Target.GROUP).label("groups"),
        func.array(approvers.scalar_subquery()).label("approvers"),
        func.array(staffed.scalar_subquery()).label("staffed"),
    )
    return Query("approval_policies.known", statement, Known)


_KNOWN = _known()


@dataclass(frozen=True)
class _Chosen:
    """The policies of one organisation that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        conditions = (condition(_POLICIES, name) for name in sorted(self.narrowed_by))
        return select(_POLICIES).where(_POLICIES.c.organisation_id == ORGANISATION_ID, *conditions)


class PolicyQueries:
    """Reads the approval policies of the actor's organisation (admins and auditors)."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._own = {"organisation_id": actor.organisation_id}

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[PolicyRow]:
        given = filters.parameters()
        await self._enter()
        return await _LIST.page(self._executor, _Chosen(frozenset(given)), request, {**self._own, **given})

    async def get(self, policy_id: int) -> PolicyRow:
        """A version. Raises ApprovalPolicyNotFound."""
        await self._enter()
        policy = await self._executor.row(_ONE, **self._own, policy_id=policy_id)
        if policy is None:
            raise ApprovalPolicyNotFound
        return policy

    async def rules(self, policy_id: int) -> Sequence[RuleRow]:
        """All rules of a version, in the order of their stages and positions."""
        return await self._executor.rows(_RULES_OF_POLICY, **self._own, policy_id=policy_id)

    async def rule(self, policy_id: int, rule_id: int) -> RuleRow:
        """A rule. Raises ApprovalRuleNotFound."""
        found = next((rule for rule in await self.rules(policy_id) if rule.id == rule_id), None)
        if found is None:
            raise ApprovalRuleNotFound
        return found

    async def rules_page(self, policy_id: int, request: PageRequest) -> PageOf[RuleRow]:
        """Rules of a version. Raises ApprovalPolicyNotFound."""
        await self.get(policy_id)
        return await _RULE_LIST.page(self._executor, _rules_of_policy, request, {**self._own, "policy_id": policy_id})

    async def open_runs(self, policy_id: int) -> int:
        """The number of open runs of other versions, or of none."""
        found = await self._executor.row(_OPEN_RUNS, **self._own, policy_id=policy_id)
        assert found is not None
        return found.row_count

    async def known(self, references: Sequence[Reference]) -> Known:
        """Which of the references are usable."""
        await self._enter()
        ids = {target.name: ids_of(references, target) for target in Target}
        known = await self._executor.row(_KNOWN, **self._own, **ids)
        assert known is not None
        return known

    async def _enter(self) -> None:
        self._actor.require(Permission.APPROVAL_POLICIES_READ)
        await self._executor.enter_tenant(self._actor.organisation_id)
