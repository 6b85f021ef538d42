"""Whether a rule applies to a document."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from po_api.approval_policies.facts import DocumentFacts, LineFacts, People
from po_api.approval_policies.rules import AmountBasis, Conditions
from po_api.core.hierarchy import Parents, path_to_root

T = TypeVar("T")


def matching_lines(conditions: Conditions, facts: DocumentFacts, people: People) -> Sequence[LineFacts]:
    """The lines that match all conditions on lines: all lines if there is none."""
    if not conditions.concern_lines:
        return facts.lines
    # A document has far more lines than categories and cost centres.
    categories = {line.category_id for line in facts.lines}
    cost_centres = {line.cost_centre_id for line in facts.lines}
    in_category = {node for node in categories if _covered(conditions.category_ids, node, people.categories)}
    in_centre = {node for node in cost_centres if _covered(conditions.cost_centre_ids, node, people.cost_centres)}
    return [line for line in facts.lines if line.category_id in in_category and line.cost_centre_id in in_centre]


def applies(conditions: Conditions, facts: DocumentFacts, people: People) -> bool:
    """Whether all conditions hold. Those on lines do if one line matches all of them."""
    return _matches_document(conditions, facts, people) and _matches_lines(conditions, facts, people)


def _matches_document(conditions: Conditions, facts: DocumentFacts, people: People) -> bool:
    is_new = conditions.supplier_is_new
    return (
        _among(conditions.supplier_ids, facts.supplier_id)
        and _among(conditions.requester_ids, facts.requester_id)
        and _among(conditions.currencies, facts.currency)
        and (is_new is None or is_new == people.supplier_is_new)
        and _covered(conditions.team_ids, people.team_id, people.teams)
    )


def _matches_lines(conditions: Conditions, facts: DocumentFacts, people: People) -> bool:
    lines = matching_lines(conditions, facts, people)
    if conditions.concern_lines and not lines:
        return False
    if conditions.total_gte is None and conditions.total_lt is None:
        return True
    of_lines = conditions.amount_basis is AmountBasis.MATCHING_LINES
    return _in_band(conditions, facts.amount_of(lines) if of_lines else facts.base_ceiling)


def _in_band(conditions: Conditions, amount: Decimal | None) -> bool:
    """An unknown amount is above all others, as it is for approval limits."""
    if amount is None:
        return conditions.total_lt is None
    is_above = conditions.total_gte is None or amount >= conditions.total_gte
    return is_above and (conditions.total_lt is None or amount < conditions.total_lt)


def _among(wanted: frozenset[T] | None, value: T | None) -> bool:
    return wanted is None or value in wanted


def _covered(wanted: frozenset[int] | None, node: int | None, parents: Parents) -> bool:
    """Whether the node is one of the wanted ones, or below one."""
    if wanted is None:
        return True
    return node is not None and not wanted.isdisjoint(path_to_root(parents, node))
