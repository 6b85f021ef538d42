"""Approval policies: drafts are written, published and retired (admins)."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.approval_policies import errors
from po_api.approval_policies.bands import band_errors
from po_api.approval_policies.domain import DocumentType, PolicyStatus
from po_api.approval_policies.models import ApprovalPolicy, ApprovalRule
from po_api.approval_policies.people_queries import PlanningQueries
from po_api.approval_policies.queries import PolicyQueries
from po_api.approval_policies.references import Reference, inconsistencies, references, undecided, unknown
from po_api.approval_policies.repository import PolicyRepository
from po_api.approval_policies.rules import MAX_RULES, Rule
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.errors import MAX_LISTED_ERRORS, FieldError
from po_api.core.permissions import Permission
from po_api.core.records import field_names
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.query import TransactionExecutor

Values = Mapping[str, object]

_LOCATION = "policy"
_COPIED = ("no_rule", "carry", "reapproval_percent", "reapproval_amount")
_OF_RULE = tuple(name for name in field_names(Rule) if name != "id")


class PolicyService:
    """Changes policies of the actor's organisation; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = PolicyRepository(session, actor.organisation_id)
        self._queries = PolicyQueries(TransactionExecutor(session), actor)
        self._planning = PlanningQueries(TransactionExecutor(session), actor)

    async def create(
        self, values: Values, *, document_type: DocumentType, copied_from: int | None, rules: Sequence[Values] | None
    ) -> int:
        """The id of a new draft: a copy of `copied_from`, if given, in which `values` and `rules` replace what it has.

        Raises ApprovalPolicyNotFound, ApprovalPolicyDraftExists or InvalidRule.
        """
        self._actor.require(Permission.APPROVAL_POLICIES_WRITE)
        await self._repository.serialise()
        columns, copied = ({}, []) if copied_from is None else await self._copied(copied_from)
        if rules is not None:
            await self._require_valid({f"/rules/{place}": rule for place, rule in enumerate(rules)})
        policy = ApprovalPolicy(
            organisation_id=self._actor.organisation_id,
            document_type=document_type,
            version_no=await self._repository.last_version_no(document_type) + 1,
            **{**columns, **values},
        )
        self._session.add(policy)
        await self._session.flush()
        present: list[ApprovalRule] = []
        for rule in copied if rules is None else rules:
            present.append(await self._add(policy, rule, present))
        after = {"version_no": policy.version_no, "copied_from": copied_from, "rule_count": len(present), **values}
        await self._record("create", policy, None, {name: value for name, value in after.items() if value is not None})
        return policy.id

    async def update(self, policy_id: int, *, expected: ExpectedVersions, values: Values) -> None:
        """Change a draft."""
        policy = await self._draft(policy_id, expected)
        before, after = merge_patch.apply(policy, values)
        if after:
            await self._touch("update", policy, before, after)

    async def delete(self, policy_id: int, *, expected: ExpectedVersions) -> None:
        """Delete a draft with its rules."""
        policy = await self._draft(policy_id, expected)
        change = audit.Change(
            "approval_policy.delete", "approval_policy", policy.id, {"version_no": policy.version_no}, None
        )
        await audit.record(self._session, self._actor, change)
        await self._session.delete(policy)
        await self._session.flush()

    async def add_rule(self, policy_id: int, *, expected: ExpectedVersions, values: Values) -> int:
        """The id of a new rule of a draft. Raises InvalidRule or TooManyRules."""
        policy = await self._draft(policy_id, expected)
        present = await self._repository.rules(policy_id)
        if len(present) >= MAX_RULES:
            raise errors.TooManyRules
        await self._require_valid({"": values})
        rule = await self._add(policy, values, present)
        await self._touch("add_rule", policy, None, {"rule_id": rule.id, "name": rule.name})
        return rule.id

    async def update_rule(self, policy_id: int, rule_id: int, *, expected: ExpectedVersions, values: Values) -> None:
        """Change a rule of a draft. Raises InvalidRule."""
        policy = await self._draft(policy_id, expected)
        rule = await self._rule(policy_id, rule_id)
        self._require_consistent({"": {**_columns(rule), **values}})
        # What it refers to already may have been deactivated meanwhile.
        await self._require_known({"": merge_patch.differing(rule, values)[1]})
        before, after = merge_patch.apply(rule, values)
        if after:
            await self._touch("update_rule", policy, {"rule_id": rule_id, **before}, {"rule_id": rule_id, **after})

    async def delete_rule(self, policy_id: int, rule_id: int, *, expected: ExpectedVersions) -> None:
        """Delete a rule of a draft."""
        policy = await self._draft(policy_id, expected)
        rule = await self._rule(policy_id, rule_id)
        await self._session.delete(rule)
        await self._touch("delete_rule", policy, {"rule_id": rule_id, "name": rule.name}, None)

    async def publish(self, policy_id: int, *, expected: ExpectedVersions) -> int:
        """Publish a draft, which retires the version before; returns how many pending requests keep theirs.

        Raises UnpublishablePolicy with everything that has to be corrected first.
        """
        self._actor.require(Permission.APPROVAL_POLICIES_WRITE)
        await self._repository.serialise()
        policy = await self._draft(policy_id, expected)
        await self._require_publishable(policy_id)
        earlier = await self._repository.locked_published(policy.document_type)
        if earlier is not None:
            await self._retire(earlier)
        before = {"status": policy.status}
        policy.status, policy.published_at, policy.published_by_id = (
            PolicyStatus.PUBLISHED,
            utc_now(),
            self._actor.member_id,
        )
        await self._touch("publish", policy, before, {"status": policy.status, "version_no": policy.version_no})
        return await self._queries.open_runs(policy_id)

    async def retire(self, policy_id: int, *, expected: ExpectedVersions) -> None:
        """Retire the published version: from then on, any approver decides on new requests."""
        self._actor.require(Permission.APPROVAL_POLICIES_WRITE)
        await self._repository.serialise()
        policy = await self._locked(policy_id)
        if policy.status != PolicyStatus.PUBLISHED:
            raise errors.ApprovalPolicyNotPublished
        require_version(policy.version, expected)
        await self._retire(policy)

    async def _retire(self, policy: ApprovalPolicy) -> None:
        before = {"status": policy.status}
        policy.status = PolicyStatus.RETIRED
        await self._touch("retire", policy, before, {"status": policy.status, "version_no": policy.version_no})

    async def _require_publishable(self, policy_id: int) -> None:
        rules = await self._repository.rules(policy_id)
        found = [each for place, rule in enumerate(rules) for each in references(_columns(rule), f"/rules/{place}")]
        known = await self._queries.known(found)
        wrong = [] if rules else [FieldError("/rules", "no_rules", "there are no rules", _LOCATION)]
        wrong += unknown(found, known, location=_LOCATION) + undecided(found, known, location=_LOCATION)
        policy = await self._planning.policy(policy_id)
        wrong += band_errors(policy.rules if policy else (), location=_LOCATION)
        if wrong:
            detail = f"to be corrected: {len(wrong)}"
            raise errors.UnpublishablePolicy(detail, errors=tuple(wrong[:MAX_LISTED_ERRORS]))

    async def _copied(self, policy_id: int) -> tuple[Values, Sequence[Values]]:
        """The columns of a policy and of its rules."""
        policy = await self._locked(policy_id)
        rules = await self._repository.rules(policy_id)
        return {name: getattr(policy, name) for name in _COPIED}, [_columns(rule) for rule in rules]

    async def _locked(self, policy_id: int) -> ApprovalPolicy:
        policy = await self._repository.locked(policy_id)
        if policy is None:
            raise errors.ApprovalPolicyNotFound
        return policy

    async def _draft(self, policy_id: int, expected: ExpectedVersions) -> ApprovalPolicy:
        """A draft, locked."""
        self._actor.require(Permission.APPROVAL_POLICIES_WRITE)
        policy = await self._locked(policy_id)
        if policy.status != PolicyStatus.DRAFT:
            raise errors.ApprovalPolicyNotDraft
        require_version(policy.version, expected)
        return policy

    async def _rule(self, policy_id: int, rule_id: int) -> ApprovalRule:
        rules = await self._repository.rules(policy_id)
        rule = next((rule for rule in rules if rule.id == rule_id), None)
        if rule is None:
            raise errors.ApprovalRuleNotFound
        return rule

    async def _add(self, policy: ApprovalPolicy, values: Values, present: Sequence[ApprovalRule]) -> ApprovalRule:
        columns = dict(values)
        if columns.get("position") is None:
            last = max((rule.position for rule in present if rule.stage == columns["stage"]), default=0)
            columns["position"] = last + 1
        rule = ApprovalRule(organisation_id=self._actor.organisation_id, policy_id=policy.id, **columns)
        self._session.add(rule)
        await self._session.flush()
        return rule

    async def _require_valid(self, rules: Mapping[str, Values]) -> None:
        """Raise InvalidRule unless the rules, by the pointers to them, are consistent and refer to what there is."""
        self._require_consistent(rules)
        await self._require_known(rules)

    @staticmethod
    def _require_consistent(rules: Mapping[str, Values]) -> None:
        _raise_if_any([error for pointer, rule in rules.items() for error in inconsistencies(rule, pointer)])

    async def _require_known(self, rules: Mapping[str, Values]) -> None:
        found: list[Reference] = [each for pointer, rule in rules.items() for each in references(rule, pointer)]
        if found:
            _raise_if_any(unknown(found, await self._queries.known(found), location="body"))

    async def _touch(
        self, verb: str, policy: ApprovalPolicy, before: Mapping[str, object] | None, after: Mapping[str, object] | None
    ) -> None:
        policy.version += 1
        await self._record(verb, policy, before, after)

    async def _record(
        self, verb: str, policy: ApprovalPolicy, before: Mapping[str, object] | None, after: Mapping[str, object] | None
    ) -> None:
        change = audit.Change(f"approval_policy.{verb}", "approval_policy", policy.id, before, after, policy.version)
        await audit.record(self._session, self._actor, change)


def _columns(rule: ApprovalRule) -> dict[str, object]:
    return {name: getattr(rule, name) for name in _OF_RULE}


def _raise_if_any(wrong: Sequence[FieldError]) -> None:
    if wrong:
        raise errors.InvalidRule(errors=tuple(wrong[:MAX_LISTED_ERRORS]))
