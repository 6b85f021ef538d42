"""The files in `~/.postgresql` that PostgreSQL's clients read unless the URL names others.

HOME may be another user's, for instance root's in a container of an unprivileged user: files that cannot be read
count as absent there.
"""

import os
from pathlib import Path

CERTIFICATE, KEY = "postgresql.crt", "postgresql.key"
_ALL = (CERTIFICATE, KEY, "root.crt", "root.crl")


def is_inaccessible(path: Path) -> bool:
    """Whether the user may not read the file, or not find out whether it exists."""
    try:
        path.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def home_of_programs() -> str:
    """HOME for libpq's programs, which end with an error at an inaccessible file: then one without any files."""
    home = Path(os.environ.get("HOME", os.devnull))
    return os.devnull if any(is_inaccessible(home / ".postgresql" / name) for name in _ALL) else str(home)
