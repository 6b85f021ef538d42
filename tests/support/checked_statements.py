"""Every statement that the application sends in any test is looked at for obstacles of a distributed database.

Those of `Query` when they are compiled, all others when SQLAlchemy sends them on one of the application's engines. The
latter are the application's if the innermost function of this project on the stack is: tests may send what they like.

Parsing takes a tenth of the tests' time. So workers and later runs share what has passed, until this check changes.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from traceback import walk_stack
from types import FrameType
from typing import Any

import pytest
from greenlet import getcurrent
from sqlalchemy import Engine, event

from po_api.db.pool import PrimaryPool, ReplicaPool
from po_api.db.query import Query
from support import distribution
from support.distribution import GLOBAL, TENANT, obstacles

_PROJECT = Path(__file__).parents[2]
_APPLICATION, _TESTS = str(_PROJECT / "src"), str(_PROJECT / "tests")
_CHECKER = __file__


class CheckedStatements:
    """The obstacles in the statements that were sent, each statement looked at once.

    `passed`: a directory with an empty file for each statement that is known to have none.
    """

    def __init__(self, passed: Path | None = None) -> None:
        self.known: set[str] = set()
        self._passed = passed
        self._found: list[str] = []

    def look_at(self, sql: str) -> None:
        if sql in self.known:
            return
        self.known.add(sql)
        note = self._passed / _digest(_CHECK, sql) if self._passed else None
        if note is not None and note.exists():
            return
        found = obstacles(sql)
        self._found += [f"{obstacle}: {sql}" for obstacle in found]
        if note is not None and not found:
            note.touch()

    def take(self) -> list[str]:
        """What was found since the last call."""
        found, self._found = self._found, []
        return found


def _digest(*texts: str) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()


_CHECK = _digest(Path(distribution.__file__).read_text(), *sorted(TENANT), "", *sorted(GLOBAL))


@contextmanager
def checked_statements(passed: Path | None = None) -> Iterator[CheckedStatements]:
    """Look at all statements while the context is open, but for those of which `passed` has a note."""
    checked = CheckedStatements(passed)
    compile_ = Query._compile

    def compiled(statement: Any, **options: Any) -> Any:
        made = compile_(statement, **options)
        # With options, it is another text of a statement that is looked at.
        if not options and _is_applications(sys._getframe(1)):
            checked.look_at(str(made))
        return made

    def before(connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        pool = connection.engine.pool
        is_primary = isinstance(pool, PrimaryPool) and not isinstance(pool, ReplicaPool)
        if is_primary and sql not in checked.known and _is_applications(sys._getframe(1)):
            checked.look_at(sql)

    event.listen(Engine, "before_cursor_execute", before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Query, "_compile", staticmethod(compiled))
        yield checked
    event.remove(Engine, "before_cursor_execute", before)


def _is_applications(frame: FrameType | None) -> bool:
    for file in _files(frame):
        if file.startswith(_APPLICATION):
            return True
        if file.startswith(_TESTS) and file != _CHECKER:
            return False
    return True


def _files(frame: FrameType | None, greenlet: Any = None) -> Iterator[str]:
    """The files of the functions on the stack, the innermost first; also of those that wait for SQLAlchemy."""
    if frame is not None:
        yield from (item.f_code.co_filename for item, _ in walk_stack(frame))
    parent = (greenlet or getcurrent()).parent
    if parent is not None:
        yield from _files(parent.gr_frame, parent)
