"""A companion: a process that is asked something and answers, one thing after the other, through pipes.

It is for what takes much memory or could end a process. The first question starts it, and so does the next one after it
ended: when nobody asked for a while, when it had answered often enough, or otherwise. It ends with whoever asks, too.
"""

import asyncio
import atexit
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from select import select
from struct import Struct
from threading import Timer
from typing import IO

_LENGTH = Struct(">I")


class CompanionError(RuntimeError):
    """It failed at the question, or took too long; if it was not new, so did a new one."""


class Companion:
    """The side that asks, of a module that goes by `questions` and `reply`."""

    def __init__(self, module: str, *, seconds: float, is_kept: bool = True) -> None:
        """`seconds` is the longest that an answer may take; one that is not kept is asked one question only."""
        self._module = module
        self._seconds = seconds
        self._is_kept = is_kept
        self._thread = ThreadPoolExecutor(1, module)
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    async def ask(self, question: bytes) -> bytes:
        """The answer, when those who were first have theirs; CompanionError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question)

    def close(self) -> None:
        """Let it end, and wait for that. The next question starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def _ask(self, question: bytes) -> bytes:
        if self._process is not None:
            try:
                return self._answer(self._process, question)
            except (OSError, EOFError):
                self.close()  # it had ended; only one that was started for this very question is to blame
        self._process = self._started()
        try:
            return self._answer(self._process, question)
        except (OSError, EOFError):
            self.close()
            raise CompanionError(self._module) from None

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # It has no need of the application's secrets, and Ctrl-C is for whoever still waits for an answer.
            env={name: value for name, value in os.environ.items() if name.startswith("PYTHON")},
            start_new_session=True,
        )

    def _answer(self, process: "subprocess.Popen[bytes]", question: bytes) -> bytes:
        assert process.stdin is not None and process.stdout is not None
        limit = Timer(self._seconds, process.kill)
        limit.start()
        try:
            _send(process.stdin, question)
            return _receive(process.stdout)
        finally:
            limit.cancel()
            if not self._is_kept:
                self.close()


def questions(*, idle_seconds: float, at_most: int) -> Iterator[bytes]:
    """What the companion is asked, until it may end."""
    for _ in range(at_most):
        if not select([sys.stdin], [], [], idle_seconds)[0]:
            return
        try:
            question = _receive(sys.stdin.buffer)
        except EOFError:
            return
        yield question


def reply(answer: bytes) -> None:
    """Answer the question that came last."""
    _send(sys.stdout.buffer, answer)


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
