"""State machines as data: who may perform which action, from which statuses, to which, and under which conditions.

One table serves the guards, `allowed_actions`, dry runs and the published state machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from json import dumps
from typing import Any, Generic, Protocol, TypeVar

from po_api.core.actor import Actor, MissingScope
from po_api.core.errors import AppError, InvalidTransition
from po_api.core.permissions import Permission


class Facts(Protocol):
    """The data that guards look at; it always contains the status of the entity."""

    @property
    def status(self) -> StrEnum: ...


S = TypeVar("S", bound=StrEnum)
A = TypeVar("A", bound=StrEnum)
F = TypeVar("F", bound=Facts)

# A guard returns the error that the caller would get, or None. Its docstring is published.
Guard = Callable[[F, Actor], type[AppError] | None]


@dataclass(frozen=True)
class Rule(Generic[S, F]):
    """One row of the table. With the `target` None the status is derived from the data, or does not change.

    `permission` determines the scope that an API key needs; `who` is the guard that checks the member. `elsewhere` is
    the error in other statuses than the `sources`.
    """

    sources: frozenset[S]
    target: S | None
    permission: Permission
    who: Guard[F]
    guards: tuple[Guard[F], ...] = ()
    elsewhere: type[AppError] = InvalidTransition


class StateMachine(Generic[S, A, F]):
    """The transition table and its evaluation."""

    def __init__(self, rules: Mapping[A, Rule[S, F]]) -> None:
        self.rules = rules

    def refusal(self, action: A, facts: F, actor: Actor) -> type[AppError] | None:
        """The error that prevents the action, or None. Checks the actor, then the status, then the guards."""
        rule = self.rules[action]
        if not actor.in_scope(rule.permission):
            return MissingScope
        refused = rule.who(facts, actor)
        if refused is not None:
            return refused
        if facts.status not in rule.sources:
            return rule.elsewhere
        for guard in rule.guards:
            refused = guard(facts, actor)
            if refused is not None:
                return refused
        return None

    def require(self, action: A, facts: F, actor: Actor) -> None:
        """Raise the error that prevents the action, if there is one."""
        refused = self.refusal(action, facts, actor)
        if refused is InvalidTransition:
            raise InvalidTransition(f"{action} is not possible while the status is {facts.status}")
        if refused is not None:
            raise refused

    def target(self, action: A, status: S) -> S:
        """The status after `action`: the one that its rule names, otherwise `status`, which stays."""
        target = self.rules[action].target
        return status if target is None else target

    def allowed_actions(self, facts: F, actor: Actor) -> dict[A, type[AppError] | None]:
        """For each action the error that prevents it; None if it is allowed."""
        return {action: self.refusal(action, facts, actor) for action in self.rules}


def explained(refusals: Mapping[Any, type[AppError] | None]) -> str:
    """`allowed_actions` as JSON: whether each action is allowed and, if not, the code of the problem."""
    shown = {
        str(action): {"allowed": refused is None, "reason": None if refused is None else refused.code}
        for action, refused in refusals.items()
    }
    return dumps(shown, separators=(",", ":"))


def named(refusals: Mapping[Any, type[AppError] | None]) -> str:
    """`allowed_actions` of an item of a list as JSON: the names of those that are allowed.

    The reasons why others are not would be two thirds of a page.
    """
    return dumps([str(action) for action, refused in refusals.items() if refused is None], separators=(",", ":"))


def everyone(_facts: Facts, _actor: Actor) -> type[AppError] | None:
    """any member who can see it"""
    return None
