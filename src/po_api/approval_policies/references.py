"""What is wrong with rules, and where: contradictions, and ids that there are not. In JSON, as rules are stored."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from po_api.approval_policies.domain import EscalateTo, OnEmpty
from po_api.approval_policies.rules import ApproverKind
from po_api.core.errors import FieldError


class Target(StrEnum):
    """What an id is of; the value is that of the error if there is none."""

    COST_CENTRE = "unknown_cost_centre"
    CATEGORY = "unknown_category"
    SUPPLIER = "unknown_supplier"
    TEAM = "unknown_team"
    MEMBER = "unknown_member"
    GROUP = "unknown_approval_group"


class Reference(NamedTuple):
    """An id, what it is of, and its place: a JSON pointer. `decides`: whoever is meant has to decide."""

    pointer: str
    target: Target
    id: int
    decides: bool


class Known(NamedTuple):
    """Which of some ids are usable: of active entries, and of active members. `approvers` may decide; of `staffed`
    groups at least one member may."""

    cost_centres: Collection[int]
    categories: Collection[int]
    suppliers: Collection[int]
    teams: Collection[int]
    members: Collection[int]
    groups: Collection[int]
    approvers: Collection[int]
    staffed: Collection[int]


_CONDITIONS = {
    "cost_centre_ids": Target.COST_CENTRE,
    "category_ids": Target.CATEGORY,
    "supplier_ids": Target.SUPPLIER,
    "team_ids": Target.TEAM,
    "requester_ids": Target.MEMBER,
}
_APPROVERS: Mapping[str, Target] = {ApproverKind.USER: Target.MEMBER, ApproverKind.GROUP: Target.GROUP}
_NAMES = {
    Target.COST_CENTRE: "cost centre",
    Target.CATEGORY: "category",
    Target.SUPPLIER: "supplier",
    Target.TEAM: "team",
    Target.MEMBER: "member",
    Target.GROUP: "approval group",
}
_GROUPS = ("on_empty_group_id", "escalation_group_id")


def references(rule: Mapping[str, Any], prefix: str = "") -> Iterator[Reference]:
    """The references of a rule, or of those of its attributes that are given; in JSON, as it is stored."""
    conditions = rule.get("conditions", {})
    for name, target in _CONDITIONS.items():
        for place, each in enumerate(conditions.get(name, ())):
            yield Reference(f"{prefix}/conditions/{name}/{place}", target, each, decides=False)
    for place, approver in enumerate(rule.get("approvers", ())):
        if (kind := approver["kind"]) in _APPROVERS:
            yield Reference(f"{prefix}/approvers/{place}/id", _APPROVERS[kind], approver["id"], decides=True)
    for name in _GROUPS:
        if (group_id := rule.get(name)) is not None:
            yield Reference(f"{prefix}/{name}", Target.GROUP, group_id, decides=True)


def ids_of(found: Iterable[Reference], target: Target) -> Sequence[int]:
    """The ids of what is of this kind."""
    return sorted({reference.id for reference in found if reference.target is target})


def unknown(found: Iterable[Reference], known: Known, *, location: str) -> list[FieldError]:
    """An error for each reference to something that there is not."""
    usable = {
        Target.COST_CENTRE: known.cost_centres,
        Target.CATEGORY: known.categories,
        Target.SUPPLIER: known.suppliers,
        Target.TEAM: known.teams,
        Target.MEMBER: known.members,
        Target.GROUP: known.groups,
    }
    return [
        FieldError(
            reference.pointer, reference.target, f"there is no active {_NAMES[reference.target]} with this id", location
        )
        for reference in found
        if reference.id not in usable[reference.target]
    ]


def undecided(found: Iterable[Reference], known: Known, *, location: str) -> list[FieldError]:
    """An error for each member who may not decide, and for each group of which nobody may."""
    errors: list[FieldError] = []
    for reference in found:
        if not reference.decides:
            continue
        if reference.target is Target.MEMBER and reference.id in known.members and reference.id not in known.approvers:
            detail = "the member lacks the role approver"
            errors.append(FieldError(reference.pointer, "not_an_approver", detail, location))
        if reference.target is Target.GROUP and reference.id in known.groups and reference.id not in known.staffed:
            detail = "no active member of the group has the role approver"
            errors.append(FieldError(reference.pointer, "empty_group", detail, location))
    return errors


def inconsistencies(rule: Mapping[str, Any], prefix: str = "") -> Iterator[FieldError]:
    """An error for each attribute of a whole rule that contradicts another one."""
    yield from _paired(rule, "on_empty_group_id", prefix, needed=rule["on_empty"] == OnEmpty.GROUP)
    yield from _paired(rule, "escalate_to", prefix, needed=rule["escalate_after_hours"] is not None)
    yield from _paired(rule, "escalation_group_id", prefix, needed=rule["escalate_to"] == EscalateTo.GROUP)
    approvers, required = rule["approvers"], rule["required_count"]
    named = {each["id"] for each in approvers if each["kind"] == ApproverKind.USER}
    if required is not None and all(each["kind"] == ApproverKind.USER for each in approvers) and required > len(named):
        detail = f"the rule names {len(named)} people only"
        yield FieldError(f"{prefix}/required_count", "too_few_people", detail)


def _paired(rule: Mapping[str, object], name: str, prefix: str, *, needed: bool) -> Iterator[FieldError]:
    if needed and rule[name] is None:
        yield FieldError(f"{prefix}/{name}", "missing", "is required with the rule's other attributes")
    if not needed and rule[name] is not None:
        yield FieldError(f"{prefix}/{name}", "not_allowed", "is not allowed with the rule's other attributes")
