"""State machines as data: who may do what, from which status, to which, and what else has to hold.

The same table answers the API's guards, `allowed_actions`, the dry run and the published machine.
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
    """What guards look at; every entity's facts have its status."""

    @property
    def status(self) -> StrEnum: ...


S = TypeVar("S", bound=StrEnum)
A = TypeVar("A", bound=StrEnum)
F = TypeVar("F", bound=Facts)

# A guard answers with the error that the caller would get, or None. Its docstring is published.
Guard = Callable[[F, Actor], type[AppError] | None]


@dataclass(frozen=True)
class Rule(Generic[S, F]):
    """One row of the table. `target` None means that the status follows from the data, or stays.

    `permission` decides which scope an API key needs; which members may do it, and with what, is for `who` to say.
    """

    sources: frozenset[S]
    target: S | None
    permission: Permission
    who: Guard[F]
    guards: tuple[Guard[F], ...] = ()


class StateMachine(Generic[S, A, F]):
    """The table, and the questions that it answers."""

    def __init__(self, rules: Mapping[A, Rule[S, F]]) -> None:
        self.rules = rules

    def refusal(self, action: A, facts: F, actor: Actor) -> type[AppError] | None:
        """Why `actor` may not do this now; None if they may. Checks the actor, then the status, then the guards."""
        rule = self.rules[action]
        if not actor.in_scope(rule.permission):
            return MissingScope
        refused = rule.who(facts, actor)
        if refused is not None:
            return refused
        if facts.status not in rule.sources:
            return InvalidTransition
        for guard in rule.guards:
            refused = guard(facts, actor)
            if refused is not None:
                return refused
        return None

    def require(self, action: A, facts: F, actor: Actor) -> None:
        """Raise the refusal, if there is one."""
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
        """For every action, why not; None where it is allowed."""
        return {action: self.refusal(action, facts, actor) for action in self.rules}


def explained(refusals: Mapping[Any, type[AppError] | None]) -> str:
    """Whether each action is allowed, and why not, as JSON: a problem's code."""
    shown = {
        str(action): {"allowed": refused is None, "reason": None if refused is None else refused.code}
        for action, refused in refusals.items()
    }
    return dumps(shown, separators=(",", ":"))


def everyone(_facts: Facts, _actor: Actor) -> type[AppError] | None:
    """any member who can see it"""
    return None
