"""Typesets orders in worker processes, so that neither their memory use nor a crash nor a hang affects the server.

The processes are those of `anyio.to_process`, at most one for short orders and one for long ones. Added here, since
anyio does not offer it: workers get no secrets, have a memory limit, and end when they are idle or after a number of
orders; after the death of a worker, the call is retried in another one.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from anyio import BrokenWorkerProcess, fail_after, open_process, to_process
from anyio.abc import Process
from anyio.lowlevel import RunVar

from po_api.core.fair_queue import FairQueue, Shares
from po_api.observability.logging import get_logger

if sys.platform != "win32":
    import resource

# Typesetting takes 0.13 MB for each line, 1.3 GB for 10,000, and several times as much for lines of long words. A
# process ends after a long order; one that typesets short orders grows by some 30 MB in a few hundred of them.
LONG_LINES = 500

# Typst caches the layout of the last ten orders: that saves a third of the time of the next one, for 0.13 MB per line.
_CACHED_LINES = 100

# Up to two idle workers may have ended unnoticed; the third attempt is made in a new one.
_ATTEMPTS = 3
_START_SECONDS = 30

# uvloop leaves inheritable files open in new processes, such as the socket on which several workers listen: as long as
# it is open, clients can connect to a server that has stopped.
WORKER_PROGRAM = """
import os, sys
if sys.platform != "win32":
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
from anyio.to_process import process_worker
process_worker()
"""

_log = get_logger(__name__)
_SHARES = Shares(running=1, running_per_organisation=1, running_per_user=1, seconds=60)
# One for short orders, one for long ones; of each event loop, as anyio's worker processes are.
_queues: RunVar[tuple[FairQueue, FairQueue]] = RunVar("po_api_typesetting")


class TypesettingError(RuntimeError):
    """The order could not be typeset: an error, the time-out, or the death of the process in every attempt."""


class WorkerError(RuntimeError):
    """An error in a worker process: its type's name and its traceback, without messages, which may quote the order."""


@dataclass(frozen=True)
class Limits:
    """`seconds` for an order, all attempts included; for a process `memory` in bytes, the whole seconds after which it
    ends when it is idle, and the number of orders after which it ends."""

    seconds: float = 60
    memory: int = 4 * 2**30
    idle_seconds: int = 60
    orders: int = 250


@dataclass(frozen=True)
class Order:
    """What is typeset: the output of `sheets.printed`, with so many lines, by this version of the template, with the
    buyer's logo (PNG)."""

    printed: bytes
    lines: int
    template: int
    logo: bytes | None = None


async def typeset(order: Order, limits: Limits = Limits()) -> bytes:
    """The PDF/A of an order; the caller holds a turn of `queue_for`. Raises TypesettingError.

    Cancellation kills the worker process that typesets the order.
    """
    try:
        with fail_after(limits.seconds):
            return await _attempted(order, limits)
    except WorkerError as error:
        name, stack = error.args
        _log.error("typesetting_failed", error=name, stack=stack)
        raise TypesettingError from None
    except (BrokenWorkerProcess, TimeoutError) as error:
        _log.error("typesetting_failed", error=type(error).__name__)
        raise TypesettingError from None


def queue_for(lines: int) -> FairQueue:
    """The queue in which orders with so many lines wait to be typeset."""
    try:
        short, long = _queues.get()
    except LookupError:
        short, long = FairQueue(_SHARES), FairQueue(_SHARES)
        _queues.set((short, long))
    return long if lines > LONG_LINES else short


async def _attempted(order: Order, limits: Limits) -> bytes:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await _in_worker(order, limits)
        except BrokenWorkerProcess:
            _log.info("typesetting_retried")
    return await _in_worker(order, limits)


async def _in_worker(order: Order, limits: Limits) -> bytes:
    try:
        # Shielded: anyio would leave a process running whose start is cancelled. Afterwards, cancellation kills it.
        with fail_after(_START_SECONDS, shield=True):
            await to_process.run_sync(_prepare, limits, cancellable=True)
        return await to_process.run_sync(_run, order, limits, cancellable=True)
    except ProcessLookupError:
        raise BrokenWorkerProcess from None  # from anyio's attempt to kill a process that died while it started


async def _open_process(_command: Sequence[str], *, stdin: int, stdout: int) -> Process:
    """A worker process without the server's environment, which contains secrets, and in a session of its own: Ctrl-C
    must only end the server, whose requests in progress still need the worker."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    environment["PYTHONSAFEPATH"] = "1"  # no modules from the working directory
    command = [sys.executable, "-u", "-c", WORKER_PROGRAM]
    return await open_process(command, env=environment, start_new_session=True, stdin=stdin, stdout=stdout)


# anyio has no parameter for it. Tests inspect a worker's environment, session and open files.
to_process.open_process = _open_process  # type: ignore[assignment, attr-defined]


# What follows runs in the worker process. Only there are typst and the fonts imported, which take some 40 MB.

_orders = 0
_lines = 0


def _prepare(limits: Limits) -> None:
    """Apply the limits; the first call in a process also imports typst."""
    from po_api.purchase_orders import typesetting  # noqa: F401, PLC0415

    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = limits.memory if hard == resource.RLIM_INFINITY else min(limits.memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    _end_after(limits.idle_seconds)


def _run(order: Order, limits: Limits) -> bytes:
    global _orders  # noqa: PLW0603
    from po_api.purchase_orders import typesetting  # noqa: PLC0415

    _prepare(limits)  # again: meanwhile another order may have taken the process that was prepared for this one
    _end_after(0)
    _orders += 1
    try:
        _limit_cache(order.lines)
        return typesetting.typeset(order.printed, order.template, order.logo)
    except Exception as error:
        raise WorkerError(type(error).__name__, "".join(traceback.format_tb(error.__traceback__))) from None
    finally:
        if order.lines > LONG_LINES or _orders >= limits.orders:
            _end_after_result()
        else:
            _end_after(limits.idle_seconds)


def _limit_cache(lines: int) -> None:
    global _lines  # noqa: PLW0603
    from po_api.purchase_orders import typesetting  # noqa: PLC0415

    if _lines >= _CACHED_LINES:
        typesetting.forget()
        _lines = 0
    _lines += lines


def _end_after(seconds: int) -> None:
    """End the process after this number of seconds without another call; 0 means never."""
    if sys.platform != "win32":
        signal.alarm(seconds)


def _end_after_result() -> None:
    """End the process once it has sent the result: it reads the end of the file instead of another call."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
