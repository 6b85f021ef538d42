"""The OS user that the embedded PostgreSQL runs as, and that user's access to the files when this process is root's."""

import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl
    import pwd

SERVER_USER = "pgserver"


class NoServerUserError(Exception):
    """The process runs as root, and no system user could be found or created."""


def find(data_dir: Path) -> "pwd.struct_passwd | None":
    """The user that the server runs as; None is the current one. PostgreSQL refuses to run as root.

    For root it is the owner of the data directory or, if that is also root, a separate system user: not `nobody`, as
    which other services of the machine run, which could then read the data.
    """
    if os.geteuid() != 0:
        return None
    owner = data_dir.stat().st_uid
    with suppress(KeyError):
        return pwd.getpwuid(owner) if owner != 0 else pwd.getpwnam(SERVER_USER)
    try:
        return _create()
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise NoServerUserError(
            "PostgreSQL does not run as root, and no system user could be created: use an ordinary user or DATABASE_URL"
        ) from error


def _create() -> "pwd.struct_passwd":
    """Create the system user, unless another process has done so meanwhile.

    useradd looks for the name before it locks the file of users: a second one would replace the first one's user by one
    with another id, as which the first process could not run anything.
    """
    with _alone(Path("/etc")):
        with suppress(KeyError):
            return pwd.getpwnam(SERVER_USER)
        subprocess.run(  # noqa: S603 - no arguments from outside
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVER_USER],  # noqa: S607
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(SERVER_USER)


def give_to_owner_of(directory: Path, descriptor: int) -> None:
    """Give a file that root has created to the owner of `directory`, who could not use it otherwise."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def admit(uid: int, path: Path) -> None:
    """Allow the server's user, and if possible only that user, to traverse the closed directories above `path`."""
    for directory in path.parents:
        status = directory.stat()
        if status.st_mode & stat.S_IXOTH or status.st_uid == uid:
            continue
        try:
            with _alone(directory):
                _grant_search(directory, uid, stat.S_IMODE(directory.stat().st_mode))
        except (OSError, AttributeError):
            # A system or file system without access lists: all users may traverse the directory, but not list it.
            directory.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold a lock on a directory: of two concurrent changes in it, or of its access list, one would be lost."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _grant_search(directory: Path, uid: int, mode: int) -> None:
    """Add `user:<uid>:--x` to a directory's POSIX access list. Raises OSError or AttributeError where unsupported.

    The extended attribute is a 32-bit version and 8-byte entries (tag, permissions, id), sorted; see acl(5).
    """
    attribute, version, nobody = "system.posix_acl_access", 2, 0xFFFFFFFF
    owner_tag, user_tag, group_tag, mask_tag, other_tag = 0x01, 0x02, 0x04, 0x10, 0x20
    entries = {(owner_tag, nobody): mode >> 6 & 7, (group_tag, nobody): mode >> 3 & 7, (other_tag, nobody): mode & 7}
    with suppress(OSError):
        packed = os.getxattr(directory, attribute)[4:]
        entries = {(tag, who): allowed for tag, allowed, who in struct.iter_unpack("<HHI", packed)}
    entries[user_tag, uid] = entries.get((user_tag, uid), 0) | 1
    entries[mask_tag, nobody] = entries.get((mask_tag, nobody), entries[group_tag, nobody]) | 1
    packed = b"".join(struct.pack("<HHI", tag, allowed, who) for (tag, who), allowed in sorted(entries.items()))
    os.setxattr(directory, attribute, struct.pack("<I", version) + packed)


def make_readable(binaries: Path) -> None:
    """Make the wheel's files, which are public, readable if they were installed with a umask that prevents it."""
    if (binaries / "postgres").stat().st_mode & stat.S_IXOTH and binaries.stat().st_mode & stat.S_IXOTH:
        return
    package = binaries.parent.parent
    for top in (binaries.parent, package.with_name(f"{package.name}.libs")):
        for folder, _, files in os.walk(top):
            for path in (Path(folder), *(Path(folder, name) for name in files)):
                readable = 0o055 if path.stat().st_mode & stat.S_IXUSR else 0o044
                path.chmod(stat.S_IMODE(path.stat().st_mode) | readable)
