"""What planning reads: the published policy, and the people whom it may ask about a document. One query each."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    ScalarSelect,
    SQLColumnExpression,
    and_,
    any_,
    bindparam,
    cast,
    func,
    select,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.approval_policies.domain import DocumentType, OnEmpty, PolicyStatus
from po_api.approval_policies.facts import DocumentFacts, People, Person
from po_api.approval_policies.models import ApprovalPolicy, ApprovalRule
from po_api.approval_policies.rules import ApproverKind, Policy, Rule
from po_api.approval_policies.tables_above import PURCHASE_ORDERS
from po_api.core.actor import Actor
from po_api.core.permissions import GRANTS, Permission
from po_api.core.records import field_names
from po_api.db.json_sql import columns_of, json_array, json_object, nested
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, Query, QueryExecutor
from po_api.members.models import Member
from po_api.structure.models import ApprovalGroup, ApprovalGroupMember, Category, CostCentre, Team

_POLICIES, _RULES = ApprovalPolicy.__table__, ApprovalRule.__table__
_MEMBERS, _TEAMS = Member.__table__, Team.__table__
_GROUPS, _GROUP_MEMBERS = ApprovalGroup.__table__, ApprovalGroupMember.__table__
_CENTRES, _CATEGORIES = CostCentre.__table__, Category.__table__
_REQUESTER_ID = bindparam("requester_id", type_=BigInteger)
_APPROVERS = sorted(GRANTS[Permission.PORFS_DECIDE].roles)


class _PolicyRow(NamedTuple):
    """A policy with its rules, as JSON."""

    policy: str


class _PeopleRow(NamedTuple):
    """The people, and what names them, as JSON; the places are paths to the root. `supplier_is_new`: see `People`."""

    persons: str
    groups: str
    cost_centres: str
    categories: str
    teams: str
    team_id: int | None
    supplier_is_new: bool


class _Node(NamedTuple):
    """An entry in a hierarchy, and the member who owns or leads it, if there is one."""

    id: int
    parent_id: int | None
    person_id: int | None


class _Membership(NamedTuple):
    """A member of an approval group."""

    group_id: int
    group_name: str
    user_id: int


_A_POLICY, _NODES = TypeAdapter(Policy), TypeAdapter(list[_Node])
_PERSONS, _MEMBERSHIPS = TypeAdapter(list[Person]), TypeAdapter(list[_Membership])


@lru_cache(maxsize=256)
def _parsed(policy: str) -> Policy:
    """The policy. Nothing changes a published one: it is parsed once."""
    return _A_POLICY.validate_json(policy)


def _all(
    name: str, source: FromClause, fields: Mapping[str, SQLColumnExpression[object]], *order: AnyColumn
) -> AnySelect:
    """A JSON array of the rows of `source`."""
    item, text = json_object(name, fields)
    return select(json_array(text, *order)).select_from(source.join(item, true()))


def _with_rules(policies: FromClause) -> AnySelect:
    """`policy`: the policies with their rules, in the order of these."""
    of_policy = and_(_RULES.c.organisation_id == ORGANISATION_ID, _RULES.c.policy_id == policies.c.id)
    rules = _all("rule", _RULES, columns_of(_RULES, field_names(Rule)), _RULES.c.stage, _RULES.c.position, _RULES.c.id)
    own = columns_of(policies, [name for name in field_names(Policy) if name != "rules"])
    item, text = json_object(
        "policy", {**own, "rules": nested(rules.where(of_policy).correlate(policies).scalar_subquery())}
    )
    return select(text.label("policy")).select_from(policies.join(item, true()))


def _policy_of(condition: ColumnElement[bool], name: str) -> Query[_PolicyRow]:
    policies = select(_POLICIES).where(_POLICIES.c.organisation_id == ORGANISATION_ID, condition).subquery("policies")
    return Query(name, _with_rules(policies), _PolicyRow)


_IS_PUBLISHED = and_(_POLICIES.c.document_type == DocumentType.PORF, _POLICIES.c.status == PolicyStatus.PUBLISHED)
_PUBLISHED = _policy_of(_IS_PUBLISHED, "approval_policies.published")
_ONE = _policy_of(_POLICIES.c.id == bindparam("policy_id", type_=BigInteger), "approval_policies.one")


def published_policy() -> ScalarSelect[str]:
    """The published policy in the statement of another feature, for `policy_from`; NULL without one."""
    policies = select(_POLICIES).where(_POLICIES.c.organisation_id == ORGANISATION_ID, _IS_PUBLISHED)
    return _with_rules(policies.subquery("policies")).scalar_subquery()


def policy_from(published: str | None) -> Policy | None:
    """The policy that `published_policy` has found."""
    return None if published is None else _parsed(published)


def _any_of(name: str) -> AnyColumn:
    return any_(bindparam(name, type_=ARRAY(BigInteger)))


def _path(
    name: str,
    table: FromClause,
    start: ColumnElement[bool],
    *,
    key: str = "id",
    parent: str = "parent_id",
    person: str | None = None,
) -> CTE:
    """The rows of a hierarchy where it starts, and all above them: the columns of `_Node`."""

    def columns(rows: FromClause) -> list[AnyColumn]:
        of_person = cast(None, BigInteger) if person is None else rows.c[person]
        return [rows.c[key].label("id"), rows.c[parent].label("parent_id"), of_person.label("person_id")]

    path = select(*columns(table)).where(table.c.organisation_id == ORGANISATION_ID, start)
    cte = path.cte(f"path_of_{name}", recursive=True)
    above = table.alias("above")
    is_above = and_(above.c.organisation_id == ORGANISATION_ID, above.c[key] == cte.c.parent_id)
    return cte.union(select(*columns(above)).select_from(cte.join(above, is_above)))


def _nodes(path: CTE, name: str) -> AnyColumn:
    return _all(name, path, columns_of(path, field_names(_Node)), path.c.id).scalar_subquery()


def _group_members() -> AnySelect:
    """The members of active groups."""
    of_group = and_(_GROUPS.c.organisation_id == ORGANISATION_ID, _GROUPS.c.id == _GROUP_MEMBERS.c.group_id)
    return (
        select(_GROUP_MEMBERS.c.group_id, _GROUPS.c.name.label("group_name"), _GROUP_MEMBERS.c.user_id)
        .join(_GROUPS, of_group)
        .where(
            _GROUP_MEMBERS.c.organisation_id == ORGANISATION_ID,
            _GROUP_MEMBERS.c.group_id == _any_of("group_ids"),
            _GROUPS.c.is_active,
        )
    )


def _people() -> Query[_PeopleRow]:
    team_id = (
        select(_MEMBERS.c.team_id)
        .where(_MEMBERS.c.organisation_id == ORGANISATION_ID, _MEMBERS.c.user_id == _REQUESTER_ID)
        .scalar_subquery()
    )
    managers = _path("managers", _MEMBERS, _MEMBERS.c.user_id == _REQUESTER_ID, key="user_id", parent="manager_id")
    centres = _path("cost_centres", _CENTRES, _CENTRES.c.id == _any_of("cost_centre_ids"), person="owner_id")
    categories = _path("categories", _CATEGORIES, _CATEGORIES.c.id == _any_of("category_ids"))
    teams = _path("teams", _TEAMS, _TEAMS.c.id == team_id, person="lead_id")
    memberships = _group_members().cte("memberships")
    approvers = select(_MEMBERS.c.user_id).where(
        _MEMBERS.c.organisation_id == ORGANISATION_ID,
        bindparam("with_approvers", type_=Boolean),
        _MEMBERS.c.is_active,
        _MEMBERS.c.roles.overlap(_APPROVERS),
    )
    asked = union(
        select(func.unnest(bindparam("user_ids", type_=ARRAY(BigInteger)))),
        select(managers.c.id),
        select(centres.c.person_id),
        select(teams.c.person_id),
        select(memberships.c.user_id),
        approvers,
    ).subquery("asked")
    persons = select(
        *_MEMBERS.c["user_id", "name", "is_active"],
        _MEMBERS.c.roles.overlap(_APPROVERS).label("is_approver"),
        _MEMBERS.c.approval_limit.label("limit"),
        _MEMBERS.c.manager_id,
    ).where(_MEMBERS.c.organisation_id == ORGANISATION_ID, _MEMBERS.c.user_id.in_(select(asked)))
    person = persons.subquery("persons")
    issued = select(true()).where(
        PURCHASE_ORDERS.c.organisation_id == ORGANISATION_ID,
        PURCHASE_ORDERS.c.supplier_id == bindparam("supplier_id", type_=BigInteger),
        PURCHASE_ORDERS.c.status.in_(("issued", "closed")),
    )
    statement = select(
        _all("person", person, columns_of(person, field_names(Person)), person.c.user_id)
        .scalar_subquery()
        .label("persons"),
        _all("membership", memberships, columns_of(memberships, field_names(_Membership)), memberships.c.user_id)
        .scalar_subquery()
        .label("groups"),
        _nodes(centres, "centre").label("cost_centres"),
        _nodes(categories, "category").label("categories"),
        _nodes(teams, "team").label("teams"),
        team_id.label("team_id"),
        (~issued.exists()).label("supplier_is_new"),
    )
    return Query("approval_policies.people", statement, _PeopleRow)


_PEOPLE = _people()


class PlanningQueries:
    """Reads what planning is about, in the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id

    async def published(self) -> Policy | None:
        """The published policy; None without one."""
        return await self._policy(_PUBLISHED)

    async def policy(self, policy_id: int) -> Policy | None:
        """A policy in any status."""
        return await self._policy(_ONE, policy_id=policy_id)

    async def people(self, policy: Policy, facts: DocumentFacts) -> People:
        """Those whom the policy may ask about the document."""
        await self._executor.enter_tenant(self._organisation_id)
        row = await self._executor.row(
            _PEOPLE,
            organisation_id=self._organisation_id,
            requester_id=facts.requester_id,
            supplier_id=facts.supplier_id,
            category_ids=_given(line.category_id for line in facts.lines),
            cost_centre_ids=_given(line.cost_centre_id for line in facts.lines),
            **_asked(policy.rules),
        )
        assert row is not None
        persons, centres, teams = _PERSONS.validate_json(row.persons), _nodes_of(row.cost_centres), _nodes_of(row.teams)
        groups: dict[int, list[int]] = {}
        group_names: dict[int, str] = {}
        for group_id, name, user_id in _MEMBERSHIPS.validate_json(row.groups):
            groups.setdefault(group_id, []).append(user_id)
            group_names[group_id] = name
        return People(
            persons={person.user_id: person for person in persons},
            groups=groups,
            group_names=group_names,
            owners={node.id: node.person_id for node in centres},
            leads={node.id: node.person_id for node in teams},
            team_id=row.team_id,
            cost_centres={node.id: node.parent_id for node in centres},
            categories={node.id: node.parent_id for node in _nodes_of(row.categories)},
            teams={node.id: node.parent_id for node in teams},
            supplier_is_new=facts.supplier_id is not None and row.supplier_is_new,
        )

    async def _policy(self, query: Query[_PolicyRow], **parameters: object) -> Policy | None:
        await self._executor.enter_tenant(self._organisation_id)
        row = await self._executor.row(query, organisation_id=self._organisation_id, **parameters)
        return policy_from(None if row is None else row.policy)


def _asked(rules: Iterable[Rule]) -> dict[str, object]:
    """The parameters for the people whom rules name; all approvers are read only where a rule asks for them."""
    refs = [ref for rule in rules for ref in rule.approvers]
    groups = [rule.on_empty_group_id for rule in rules if rule.on_empty is OnEmpty.GROUP]
    return {
        "user_ids": _given(ref.id for ref in refs if ref.kind is ApproverKind.USER),
        "group_ids": _given([*(ref.id for ref in refs if ref.kind is ApproverKind.GROUP), *groups]),
        "with_approvers": any(ref.kind is ApproverKind.ROLE_APPROVER for ref in refs),
    }


def _given(ids: Iterable[int | None]) -> Sequence[int]:
    return sorted({given for given in ids if given is not None})


def _nodes_of(json: str) -> Collection[_Node]:
    return _NODES.validate_json(json)
