"""The representation of a state machine, made from the table that guards the actions."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from po_api.core.state_machine import StateMachine
from po_api.web.schemas import Schema


class TransitionRead(Schema):
    """A transition: who may perform the action, from which statuses, under which conditions."""

    action: str = Field(examples=["submit"])
    sources: list[str] = Field(examples=[["draft"]])
    target: str | None = Field(
        examples=["pending"],
        description="null if the status stays, or follows from quantities or from the approval",
    )
    who: str = Field(examples=["the requester or an admin"])
    guards: list[str] = Field(examples=[["the request has at least one line"]])


class StateMachineRead(Schema):
    """A state machine: its statuses and its transitions."""

    statuses: list[str] = Field(examples=[["draft", "pending"]])
    transitions: list[TransitionRead]


def publish(machine: StateMachine[Any, Any, Any], statuses: type[StrEnum]) -> StateMachineRead:
    transitions = [
        TransitionRead(
            action=action,
            sources=sorted(rule.sources),
            target=rule.target,
            who=rule.who.__doc__ or "",
            guards=[guard.__doc__ or "" for guard in rule.guards],
        )
        for action, rule in machine.rules.items()
    ]
    return StateMachineRead(statuses=list(statuses), transitions=transitions)
