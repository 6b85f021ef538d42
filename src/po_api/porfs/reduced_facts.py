"""The facts about a request that the guards of a member's actions look at, as a short text that many requests share."""

from typing import NamedTuple, Self


class ReducedFacts(NamedTuple):
    """`PorfFacts` reduced to the values that guards derive for one member; false where the member's actions do not
    depend on it. `projections.summary` has their SQL."""

    status: str
    currency: str
    standing: str
    allow_self_approval: bool
    allow_override: bool
    is_own: bool
    is_author: bool
    has_lines: bool
    ordered: bool
    has_remaining: bool
    submitted: bool
    has_approver: bool
    has_rates: bool
    lacks_rate: bool
    lacks_ceiling: bool
    supplier_is_active: bool
    supplier_has_changed: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """From PostgreSQL's text of the row. Words and booleans are not quoted in it."""
        status, currency, standing, *booleans = text[1:-1].split(",")
        return cls(status, currency, standing, *(boolean == "t" for boolean in booleans))
