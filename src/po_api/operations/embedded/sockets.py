"""The Unix socket of the embedded server, which only its own user (and root) can reach."""

import os
import re
import shutil
import socket
import stat
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


def make_directory(data_dir: Path, uid: int) -> Path:
    """A private directory of the server's user `uid` for the socket, if the path of the data directory cannot be used.

    It is always the same one for a data directory, so that processes with its address reach a restarted server. If
    another user of the machine has taken the name, it is a random one.
    """
    found = data_dir.stat()
    directory = _SHORT_DIRECTORY / f"{_SOCKET_PREFIX}{found.st_dev:x}-{found.st_ino:x}"
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        status = directory.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == uid and stat.S_IMODE(status.st_mode) == 0o700:
            return directory
        directory = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=_SHORT_DIRECTORY))
    return directory


def remove_directory(status: Sequence[str]) -> None:
    """Remove the directory of `make_directory`, if there is one; `status` is the server's last status."""
    directory = Path(status[4] if len(status) > 4 else "/")
    if directory.parent == _SHORT_DIRECTORY and directory.name.startswith(_SOCKET_PREFIX):
        shutil.rmtree(directory, ignore_errors=True)


def listening(status: Sequence[str], pgdata: Path) -> Path | None:
    """The socket's directory of a server that is ready; None if it is not, or if its status is that of a dead one.

    A socket in the data directory is looked for in `pgdata`: the directory may have been moved since the start.
    """
    if len(status) < 8 or status[7].strip() != "ready":
        return None
    directory = pgdata if status[4] == status[1] else Path(status[4])
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(directory / SOCKET_NAME))
        except OSError:
            return None
    return directory
