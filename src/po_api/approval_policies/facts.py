"""What planning knows about a document and about the people of its organisation."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from po_api.core.hierarchy import Parents, path_to_root
from po_api.core.money import TaxRounding, in_base_currency, taxed


class LineFacts(NamedTuple):
    """A line. `cost_centre_id` is its own or else that of the document; `net` is that of the quantity that can be
    ordered at most, in the document's currency."""

    category_id: int | None
    cost_centre_id: int | None
    tax_rate: Decimal
    net: Decimal


@dataclass(frozen=True)
class DocumentFacts:
    """A document. `author_ids` are the members who may not approve it, its requester and submitter included.

    `base_ceiling` is what can be ordered at most in the base currency: None, like `base_rate`, if no rate is known.
    """

    requester_id: int
    author_ids: Collection[int]
    allow_self_approval: bool
    supplier_id: int | None
    currency: str
    tax_rounding: TaxRounding
    base_currency: str
    base_rate: Decimal | None
    base_ceiling: Decimal | None
    lines: Sequence[LineFacts]

    def amount_of(self, lines: Iterable[LineFacts]) -> Decimal | None:
        """What can be ordered at most of these lines, net and tax, in the base currency; None if it is not known."""
        if self.base_rate is None:
            return None
        nets = ((line.tax_rate, line.net) for line in lines)
        total = taxed(nets, currency=self.currency, tax_rounding=self.tax_rounding).total
        return in_base_currency(total, self.base_rate, self.base_currency)


class Person(NamedTuple):
    """A member. `limit` is in the base currency; None is no limit."""

    user_id: int
    name: str
    is_active: bool
    is_approver: bool
    limit: Decimal | None
    manager_id: int | None


@dataclass(frozen=True)
class People:
    """The members of the document's organisation who may be asked, and what names them.

    `groups` has the members of active groups, `owners` the owners of cost centres, `leads` the leads of teams.
    `team_id` is that of the requester. The parents are those of what the document names, up to the root.
    `supplier_is_new`: the document has a supplier, who has no issued order yet.
    """

    persons: Mapping[int, Person] = field(default_factory=dict)
    groups: Mapping[int, Collection[int]] = field(default_factory=dict)
    group_names: Mapping[int, str] = field(default_factory=dict)
    owners: Mapping[int, int | None] = field(default_factory=dict)
    leads: Mapping[int, int | None] = field(default_factory=dict)
    team_id: int | None = None
    cost_centres: Parents = field(default_factory=dict)
    categories: Parents = field(default_factory=dict)
    teams: Parents = field(default_factory=dict)
    supplier_is_new: bool = False

    def without(self, user_ids: Collection[int]) -> "People":
        """The same people, with these as inactive: they are not asked."""
        gone = {user_id: self.persons[user_id] for user_id in user_ids if user_id in self.persons}
        inactive = {user_id: person._replace(is_active=False) for user_id, person in gone.items()}
        return replace(self, persons={**self.persons, **inactive})

    def managers(self, user_id: int) -> Sequence[Person]:
        """The manager of a member, the manager of that one …; without the member."""
        above = {person.user_id: person.manager_id for person in self.persons.values()}
        _, *managers = path_to_root(above, user_id)
        return [self.persons[manager] for manager in managers if manager in self.persons]
