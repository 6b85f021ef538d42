"""A companion answers, whatever became of the one before it, and ends when nobody needs it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from po_api.core.companion import Companion, CompanionError
from support.polling import Deadline, is_running, running_children, wait_until

# Does as it is told, and says who it is.
PROGRAM = """
import os, pathlib, time
from po_api.core import companion

for question in companion.questions():
    if question.startswith(b"fail"):
        raise ValueError(question)
    if question == b"hang":
        pathlib.Path(__file__).with_name("hanging").touch()
        time.sleep(600)
    told = " ".join(os.environ).encode() if question == b"environment" else question
    companion.reply(str(os.getpid()).encode() + b" " + told)
"""
ASKER = """
import asyncio, time
from po_api.core.companion import Companion

print(asyncio.run(Companion("obedient", seconds=60, at_most=10).ask(b"hello")).decode().split()[0], flush=True)
time.sleep(600)
"""

Made = Callable[..., Companion]


@pytest.fixture
def companion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "obedient.py").write_text(PROGRAM)

    def make(*, seconds: float = 60, at_most: int = 1000, idle_seconds: float = 600) -> Companion:
        return Companion("obedient", seconds=seconds, at_most=at_most, idle_seconds=idle_seconds)

    yield make
    for process in running_children("obedient"):
        process.kill()


async def ask(companion: Companion, question: bytes = b"hello") -> int:
    """The process that answered."""
    process_id, _, repeated = (await companion.ask(question)).partition(b" ")
    assert repeated == question
    return int(process_id)


async def test_questions_are_answered_one_by_one_by_the_same_process(companion: Made) -> None:
    asked = companion()
    answers = await asyncio.gather(*(ask(asked, b"%d" % number * 100_000) for number in range(8)))
    assert len(set(answers)) == 1


async def test_a_killed_one_is_replaced(companion: Made) -> None:
    asked = companion()
    first = await ask(asked)
    psutil.Process(first).kill()
    assert await ask(asked) != first


async def test_one_that_dies_at_a_question_is_replaced_and_the_question_asked_again(companion: Made) -> None:
    asked = companion()
    first = await ask(asked)
    psutil.Process(first).suspend()
    answer = asyncio.create_task(ask(asked))
    await asyncio.sleep(0)
    psutil.Process(first).kill()
    assert await answer != first


async def test_a_question_that_every_one_fails_at_is_an_error_and_the_next_is_answered(
    companion: Made, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = companion()
    for _ in range(2):
        with pytest.raises(CompanionError):
            await asked.ask(b"fail: a secret")
    assert await ask(asked)
    told = capfd.readouterr().err
    assert "obedient.py" in told and "ValueError" in told
    assert "a secret" not in told


async def test_an_answer_that_takes_too_long_is_an_error(companion: Made) -> None:
    asked = companion(seconds=3)
    with pytest.raises(CompanionError):
        await asked.ask(b"hang")
    assert await ask(asked)


async def test_who_no_longer_waits_holds_up_nobody(companion: Made, tmp_path: Path) -> None:
    asked = companion()
    first = await ask(asked)
    waiting = asyncio.create_task(asked.ask(b"hang"))
    following = asyncio.create_task(ask(asked))
    deadline = Deadline("a process that hangs")
    while not (tmp_path / "hanging").exists():
        deadline.check()
        await asyncio.sleep(0.01)
    waiting.cancel()
    assert await following != first
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_one_that_rests_ends_and_another_answers(companion: Made) -> None:
    asked = companion(idle_seconds=0.01)
    first = await ask(asked)
    deadline = Deadline("the end of the process")
    while psutil.pid_exists(first):
        deadline.check()
        await asyncio.sleep(0.01)
    assert await ask(asked) != first


async def test_it_ends_when_it_has_answered_often_enough(companion: Made) -> None:
    asked = companion(at_most=2)
    answers = [await ask(asked) for _ in range(6)]
    assert len(set(answers)) == 3
    assert not any(map(psutil.pid_exists, answers))


async def test_it_ends_with_whoever_asked(companion: Made) -> None:
    companion()
    with subprocess.Popen([sys.executable, "-c", ASKER], stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        process_id = int(asker.stdout.readline())
        assert is_running(process_id)
        asker.kill()
    wait_until(lambda: not is_running(process_id), "the end of the process")


async def test_it_is_told_none_of_the_secrets(companion: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "a secret")
    told = set((await companion().ask(b"environment")).decode().split())
    assert "PYTHONPATH" in told
    assert not told & {"SECRET_KEY", "DATABASE_URL", *(name for name in os.environ if name.startswith("PO_"))}
