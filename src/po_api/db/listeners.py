"""Domain events: a feature publishes, features above it listen, all in the transaction of the change.

So a feature does not depend on those above it. Libraries for signals (blinker) neither await their receivers in order
nor type their results.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True)
class ChangeWarning:
    """A consequence of an accepted change that needs attention; `porfs` are (id, number)."""

    code: str
    detail: str
    porfs: Sequence[tuple[int, str]] = ()


class DomainEvent:
    """Something that has changed in the transaction."""


E = TypeVar("E", bound=DomainEvent)
Listener = Callable[[AsyncSession, E], Awaitable[Iterable[ChangeWarning]]]


class Listeners:
    """The listeners of each event, called in the order in which they were added."""

    def __init__(self) -> None:
        self._by_event: defaultdict[type[DomainEvent], list[Listener[DomainEvent]]] = defaultdict(list)

    def add(self, event: type[E], listener: Listener[E]) -> None:
        self._by_event[event].append(listener)  # type: ignore[arg-type]

    async def notify(self, session: AsyncSession, event: DomainEvent) -> list[ChangeWarning]:
        """Call the listeners of the event, one after the other; returns their warnings."""
        return [warning for listener in self._by_event[type(event)] for warning in await listener(session, event)]
