"""Computations of more than a few milliseconds leave the event loop: meanwhile it would serve nobody else."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

P = ParamSpec("P")
T = TypeVar("T")

# Each takes 5 to 50 microseconds of each computation. A thread costs the time of about ten of them.
LINES_ON_THE_LOOP = 200
# After this time in seconds the event loop gets its turn while a thread computes. With Python's 5 ms, each log line of
# each request would wait that long: writing it lets the thread continue.
SWITCH_SECONDS = 0.0005

# Python runs one thread at a time: more of them would do no more work, and the event loop would wait longer for its
# turn. Files and bodies, which may take seconds, have one of their own: the other computations hold a transaction.
_of_transactions: RunVar[CapacityLimiter] = RunVar("po_api_computations")
_of_files: RunVar[CapacityLimiter] = RunVar("po_api_computations_of_files")


async def offload(lines: int, compute: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """`compute(*args, **kwargs)`, in a thread if it is about many lines. It must not use the database."""
    if lines <= LINES_ON_THE_LOOP:
        return compute(*args, **kwargs)
    return await to_thread.run_sync(partial(compute, *args, **kwargs), limiter=limiter_of(_of_transactions))


async def offload_file(compute: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """`compute(*args, **kwargs)` in a thread: reading or writing a whole file or a large body."""
    return await to_thread.run_sync(partial(compute, *args, **kwargs), limiter=limiter_of(_of_files))


def limiter_of(variable: RunVar[CapacityLimiter], tokens: int = 1) -> CapacityLimiter:
    """The limiter of the running event loop, which is made when it is first asked for."""
    try:
        return variable.get()
    except LookupError:
        variable.set(limiter := CapacityLimiter(tokens))
        return limiter
