"""Signals inside a process that work was committed, so that the worker in it need not wait for its next poll.

PostgreSQL's NOTIFY serialises the commits of those that send it; other processes find the work when they poll.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

_WAKEUPS = "po_api.wakeups"
_COMMITTING = "po_api.committing_work"


class Wakeups:
    """Passes on which work is due to those that listen, in the event loop of the sender."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def forget(self, listener: Callable[[str], None]) -> None:
        self._listeners.remove(listener)

    def notify(self, work: str) -> None:
        """Work with this name is committed."""
        for listener in self._listeners:
            listener(work)

    def session_options(self) -> dict[str, Any]:
        """The options of a session factory whose sessions notify after their commit."""
        return {"sync_session_class": _NotifyingSession, "info": {_WAKEUPS: self}}


class _NotifyingSession(Session):
    """A session that can notify."""


def notify_after_commit(session: AsyncSession, work: str) -> None:
    """Notify the listeners when the session's transaction is committed; a rollback notifies nobody."""
    session.info.setdefault(_COMMITTING, set()).add(work)


@event.listens_for(_NotifyingSession, "after_commit")
def _notify(session: Session) -> None:
    wakeups: Wakeups = session.info[_WAKEUPS]
    for work in session.info.pop(_COMMITTING, ()):
        wakeups.notify(work)


@event.listens_for(_NotifyingSession, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop(_COMMITTING, None)
