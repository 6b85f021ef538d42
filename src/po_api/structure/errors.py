"""Errors of the organisation's structure."""

from po_api.core.errors import Conflict, NotFound, Unprocessable


class CostCentreNotFound(NotFound):
    """The cost centre does not exist, or does not belong to the caller's organisation."""

    code = "cost_centre_not_found"
    title = "Cost centre not found"


class CategoryNotFound(NotFound):
    """The category does not exist, or does not belong to the caller's organisation."""

    code = "category_not_found"
    title = "Category not found"


class TeamNotFound(NotFound):
    """The team does not exist, or does not belong to the caller's organisation."""

    code = "team_not_found"
    title = "Team not found"


class ApprovalGroupNotFound(NotFound):
    """The approval group does not exist, or does not belong to the caller's organisation."""

    code = "approval_group_not_found"
    title = "Approval group not found"


class CostCentreCodeTaken(Conflict):
    """Another active cost centre has this code. Codes that look alike are equal."""

    code = "cost_centre_code_taken"
    title = "Code of another cost centre"
    constraint = "uq_cost_centres_code_key"


class CategoryCodeTaken(Conflict):
    """Another active category has this code. Codes that look alike are equal."""

    code = "category_code_taken"
    title = "Code of another category"
    constraint = "uq_categories_code_key"


class TeamNameTaken(Conflict):
    """Another active team has this name. Names that look alike are equal."""

    code = "team_name_taken"
    title = "Name of another team"
    constraint = "uq_teams_name_key"


class ApprovalGroupNameTaken(Conflict):
    """Another active approval group has this name. Names that look alike are equal."""

    code = "approval_group_name_taken"
    title = "Name of another approval group"
    constraint = "uq_approval_groups_name_key"


class UnknownCostCentre(Unprocessable):
    """The cost centre does not exist, or is deactivated."""

    code = "unknown_cost_centre"
    title = "Unknown cost centre"


class UnknownCategory(Unprocessable):
    """The category does not exist, or is deactivated."""

    code = "unknown_category"
    title = "Unknown category"


class UnknownTeam(Unprocessable):
    """The team does not exist, or is deactivated."""

    code = "unknown_team"
    title = "Unknown team"


class UnknownMember(Unprocessable):
    """The member does not exist, or is not active."""

    code = "unknown_member"
    title = "Unknown member"


class CostCentreMismatch(Unprocessable):
    """A request names both `cost_centre` and `cost_centre_id`, and the one is not the code of the other."""

    code = "cost_centre_mismatch"
    title = "Two different cost centres"


class HierarchyCycle(Conflict):
    """The new parent is the entry itself, or below it."""

    code = "hierarchy_cycle"
    title = "The parent is below the entry"


class HierarchyTooDeep(Conflict):
    """A hierarchy has at most 10 levels."""

    code = "hierarchy_too_deep"
    title = "Too many levels"


class ActiveChildren(Conflict):
    """Entries below it are active: deactivate or move them first."""

    code = "active_children"
    title = "Entries below it are active"


class InactiveParent(Conflict):
    """The parent is deactivated: reactivate it, or change the parent, first."""

    code = "inactive_parent"
    title = "The parent is deactivated"
