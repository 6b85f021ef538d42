"""A companion: a process that is asked something and answers, one thing after the other, through pipes.

It is for what takes much memory or could end a process. The first question starts it, and so does the next one after it
ended: when nobody asked for a while, when it had answered often enough, or otherwise. It ends with whoever asks, too.
"""

import asyncio
import atexit
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from struct import Struct
from threading import Timer
from types import TracebackType
from typing import IO

IDLE_SECONDS = 60
_END_SECONDS = 5
_LENGTH = Struct(">I")


class CompanionError(RuntimeError):
    """It failed at the question, as did a new one in its place, or the answer took too long."""


class Companion:
    """The side that asks, of a module that goes by `questions` and `reply`."""

    def __init__(self, module: str, *, seconds: float, at_most: int, idle_seconds: float = IDLE_SECONDS) -> None:
        """An answer may take `seconds`; after `at_most` answers a new process gives the next."""
        self._module = module
        self._seconds = seconds
        self._at_most = at_most
        self._idle_seconds = idle_seconds
        # Whatever is done with the process is done by this thread, but to give it up.
        self._thread = ThreadPoolExecutor(1, module)
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = 0
        self._is_given_up = False
        self._rest: asyncio.TimerHandle | None = None
        atexit.register(self._close)

    async def ask(self, question: bytes) -> bytes:
        """The answer, after those of whoever asked before; CompanionError. Who no longer waits holds up nobody."""
        work = self._thread.submit(self._ask, question)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            if work.running():
                self._give_up()
            raise
        finally:
            self._close_later()

    def _close_later(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        loop = asyncio.get_running_loop()
        self._rest = loop.call_later(self._idle_seconds, self._thread.submit, self._close)

    def _ask(self, question: bytes) -> bytes:
        self._is_given_up = False
        if self._process is not None:
            try:
                return self._answered(self._process, question)
            except CompanionError:
                # It may have ended before: only one that was started for this very question is to blame.
                if self._is_given_up:
                    raise
        self._process = self._started()
        return self._answered(self._process, question)

    def _started(self) -> "subprocess.Popen[bytes]":
        self._answers = 0
        return subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # It has no need of the application's secrets, and Ctrl-C is for whoever still waits for an answer.
            env={name: value for name, value in os.environ.items() if name.startswith("PYTHON")},
            start_new_session=True,
        )

    def _answered(self, process: "subprocess.Popen[bytes]", question: bytes) -> bytes:
        assert process.stdin is not None and process.stdout is not None
        limit = Timer(self._seconds, self._give_up)
        limit.start()
        try:
            _send(process.stdin, question)
            answer = _receive(process.stdout)
        except (OSError, EOFError):
            self._close()
            raise CompanionError(self._module) from None
        finally:
            limit.cancel()
        self._answers += 1
        if self._answers == self._at_most:
            self._close()
        return answer

    def _give_up(self) -> None:
        """Have whoever waits for its answer get an error instead."""
        self._is_given_up = True
        if self._process is not None:
            self._process.kill()

    def _close(self) -> None:
        """Let it end, and wait for that."""
        process, self._process = self._process, None
        if process is not None:
            try:
                process.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def questions() -> Iterator[bytes]:
    """What the companion is asked, until it may end. An error ends it."""
    sys.excepthook = _say_where
    while True:
        try:
            question = _receive(sys.stdin.buffer)
        except EOFError:
            return
        yield question


def reply(answer: bytes) -> None:
    """Answer the question that came last."""
    _send(sys.stdout.buffer, answer)


def _say_where(kind: type[BaseException], _error: BaseException, place: TracebackType | None) -> None:
    """What is said of a bug: its kind and its place. Messages may quote what was asked."""
    sys.stderr.write(f"{''.join(traceback.format_tb(place))}{kind.__name__}\n")


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_LENGTH.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """The next message; EOFError if the other side has ended."""
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return _exactly(pipe, length)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    content = pipe.read(size)
    if len(content) < size:
        raise EOFError
    return content
