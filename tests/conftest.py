"""How the tests run: their directories, their choice, looking for garbage. The fixtures are in support/fixtures.py."""

import asyncio
import codecs
import gc
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from support.installed_server import depends_on_version
from support.watchdog import fast_place

# The event loop of the server, which takes less time, too. pytest-asyncio's choice of loops is not used: synchronous
# tests do not have it, and so would end the loop, with all that other tests use of it.
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
# uvloop looks for it at the first address. A test may by then be a user who cannot read the interpreter's files.
codecs.lookup("idna")

# Modules and collected tests stay: looking for garbage among them takes a fifth of the time until the tests run.
gc.disable()

_KEPT_SECONDS = 24 * 3600
_NEW_OBJECTS = 50_000


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each run its own directory for temporary directories, and load the fixtures where they are used.

    pytest's are below one directory, which every run closes to other users at its start: if root runs the tests, also
    to the user of the servers of another run.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        place = fast_place()
        config.option.basetemp = tempfile.mkdtemp(prefix="po-run-", dir=place)
        # Those of killed runs are still where they were made.
        for earlier in (run for kept in {place, Path(tempfile.gettempdir())} for run in kept.glob("po-run-*")):
            with suppress(FileNotFoundError):  # another run may be faster
                if earlier.stat().st_mtime < time.time() - _KEPT_SECONDS:
                    shutil.rmtree(earlier, ignore_errors=True)
    if not _only_distributes(config):
        config.pluginmanager.import_plugin("support.fixtures")


def _only_distributes(config: pytest.Config) -> bool:
    """Whether this process leaves everything to workers, which need not wait until it has imported the application."""
    is_worker = hasattr(config, "workerinput")
    return not is_worker and config.getoption("dist", "no") != "no" and not config.getoption("collectonly")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Keep the files of a failed run for a day, but not in memory, as soon as its workers have ended."""
    yield
    place = Path(session.config.option.basetemp)
    if not place.name.startswith("po-run-"):
        return
    if exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(place, ignore_errors=True)
    elif place.parent != Path(tempfile.gettempdir()):
        subprocess.run(["mv", place, tempfile.gettempdir()], check=True)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the module that imports Schemathesis, which takes seconds, where that is not loaded (`make test`)."""
    is_left_out = collection_path.name == "test_schemathesis.py" and config.pluginmanager.is_blocked("schemathesis")
    return is_left_out or None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--few", action="store_true", help="run at most two cases of each test that needs the database")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the tests, on the installed PostgreSQL only those whose result depends on it, and their order."""
    if os.environ.get("PO_TEST_POSTGRES") == "system":
        _select(config, items, filter(depends_on_version, items))
    if config.getoption("few"):
        _select(config, items, _few(items))
    # The longest first, so that no worker begins with one of them when the others have finished.
    items.sort(key=_is_short)


def _is_short(item: pytest.Item) -> bool:
    return item.path.parent != Path(__file__).parent or item.get_closest_marker("heavy") is None


def _few(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """The first and the last case of each test that needs the database; others take no time."""
    for _, cases in itertools.groupby(items, key=lambda item: item.nodeid.partition("[")[0]):
        found = [*cases]
        if "database_urls" in getattr(found[0], "fixturenames", ()):
            found = found if len(found) == 1 else [found[0], found[-1]]
        yield from found


def _select(config: pytest.Config, items: list[pytest.Item], chosen: Iterable[pytest.Item]) -> None:
    kept = dict.fromkeys(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_runtestloop() -> None:
    """Look for garbage among what the tests make, and less often than usual: that takes a tenth of their time."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    gc.enable()
