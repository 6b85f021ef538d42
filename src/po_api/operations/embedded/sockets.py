"""The Unix socket of the embedded server, which only its own user (and root) can reach."""

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"

# Socket addresses hold 104 bytes on macOS and 108 on Linux, the final NUL included.
_SOCKET_PATH_BYTES = 103
# Not tempfile.gettempdir(): TMPDIR may be too long as well, or closed to the server's user.
_SHORT_DIRECTORY = Path("/tmp")  # noqa: S108
_SOCKET_PREFIX = "po-api-"


def is_usable(pgdata: Path) -> bool:
    """Whether the socket can be in the data directory itself, which PostgreSQL keeps at 0700."""
    path = str(pgdata / SOCKET_NAME)
    # Clients interpret a comma as the end of a host, and a leading colon as a port.
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and not re.search("[,:]", path)


def make_directory() -> Path:
    """Create a private directory for the socket if the path of the data directory cannot be used."""
    return Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=_SHORT_DIRECTORY))


def remove_directory(status: Sequence[str]) -> None:
    """Remove the directory of `make_directory`, if there is one; `status` is the server's last status."""
    directory = Path(status[4] if len(status) > 4 else "/")
    if directory.parent == _SHORT_DIRECTORY and directory.name.startswith(_SOCKET_PREFIX):
        shutil.rmtree(directory, ignore_errors=True)


def listening(status: Sequence[str]) -> Path | None:
    """The socket's directory of a server that is ready; None if it is not, or if its status is that of a dead one."""
    if len(status) < 8 or status[7].strip() != "ready":
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(Path(status[4]) / SOCKET_NAME))
        except OSError:
            return None
    return Path(status[4])
