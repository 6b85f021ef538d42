"""Data directories of the embedded server with the demo organisation, copied from one that is made once."""

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from po_api.operations.embedded.server import embedded_server
from support.watchdog import temporary_directory

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30


@contextmanager
def fast_directory(prefix: str) -> Iterator[Path]:
    """A temporary directory in memory, where fsync costs nothing, if there is room for it; deleted at the end."""
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    with temporary_directory(prefix, _MEMORY if has_room else Path(tempfile.gettempdir())) as directory:
        yield directory


@cache
def _template() -> Path:
    from support.command_line import CommandLine

    stack = ExitStack()
    atexit.register(stack.close)
    po = CommandLine.at(stack.enter_context(fast_directory("po-demo-")))
    with embedded_server(po.data_dir):
        po.ok("migrate", "--no-backup")
        po.ok("seed-demo")
    return po.data_dir


def copy_demo(data_dir: Path) -> None:
    """Create a data directory with the demo organisation."""
    subprocess.run(["cp", "-a", _template(), data_dir], check=True)
