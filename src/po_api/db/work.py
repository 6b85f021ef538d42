"""What features register with the worker (`po_api.work` has the list): queues, tasks of organisations, periodic tasks.

Features import nothing of the worker: they define what is done, the worker when and where.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.db.leases import Job, Leases, WorkStatus
from po_api.db.query import QueryExecutor

# Returns the ids of organisations, without entering a tenant.
FindOrganisations = Callable[[QueryExecutor], Awaitable[Sequence[int]]]

# Written in the transaction that ends the attempt, if it is still the job's: what follows from a success.
Record = Callable[[AsyncSession], Awaitable[None]]


class Retry(Exception):
    """The attempt failed, and another one may succeed: after the queue's delay, or after `after`.

    `code` is stable and shown by the API; `detail` is for people, and contains no secrets.
    """

    def __init__(self, code: str, detail: str | None = None, *, after: timedelta | None = None) -> None:
        super().__init__(code)
        self.error = (code, detail)
        self.after = after


class Failure(Exception):
    """The attempt failed, and so would any other."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.error = (code, detail)


class Hold(Exception):
    """The work waits until a user or an operator retries it; the worker does not."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.error = (code, detail)


class Handler(Protocol):
    """Does the work of a queue."""

    async def perform(self, job: Job) -> Record | None:
        """Do the work, outside of any transaction. Raises Retry, Failure or Hold; others are retried and logged."""

    async def failed(self, session: AsyncSession, job: Job, code: str) -> None:
        """Record that there will be no more attempts, in the transaction that says so; `code` is the last error's."""


@dataclass(frozen=True, eq=False)
class Queue:
    """Rows of a tenant table (`db.leases.Leased`), each done once.

    `seconds` is the time-out of an attempt, `delays` are those after the first, second … failed attempt, of which the
    last is repeated until there were `attempts`. `at_once` limits the attempts at a time in a process. A success gives
    the row the status `done`. What `leaves_the_house`, such as mail, is not done in a restored database before an
    operator has confirmed it; what was queued when the backup was made is held. Operators are warned of
    overdue and failed rows, unless success `depends_on_others`, such as the server of an organisation's partner.
    """

    name: str
    table: Any
    seconds: float
    delays: Sequence[timedelta]
    attempts: int
    at_once: int = 1
    done: str = WorkStatus.DONE
    leaves_the_house: bool = False
    depends_on_others: bool = False

    @cached_property
    def leases(self) -> Leases:
        return Leases(self.table)


@dataclass(frozen=True)
class TenantTask:
    """Work on rows of an organisation that are not leased one by one.

    `find` returns the organisations that have some (`leases.organisations_with_work`, if there is a table of it); `run`
    does some of it inside an organisation, in transactions of its own and under a lock of its own, and returns whether
    there was any. What comes within `interval` seconds is done together, if that is cheaper. `at_once` organisations
    have their turn at a time.
    """

    name: str
    find: FindOrganisations
    run: Callable[[int], Awaitable[bool]]
    interval: float = 0
    at_once: int = 1


@dataclass(frozen=True)
class PeriodicTask:
    """Work that is done every so often, once whatever the number of workers; `run` returns the number of rows that it
    has dealt with, for the log. `seconds` is its time-out."""

    name: str
    every: timedelta
    run: Callable[[], Awaitable[int]]
    seconds: float = 300


@dataclass(frozen=True)
class Work:
    """All that a worker does."""

    queues: Sequence[tuple[Queue, Handler]] = ()
    tenant_tasks: Sequence[TenantTask] = ()
    periodic_tasks: Sequence[PeriodicTask] = field(default=())
