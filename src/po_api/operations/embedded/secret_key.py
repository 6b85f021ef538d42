"""The secret key of an installation with the embedded server: created once, and stored beside the data."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from po_api.operations.embedded import server_user
from po_api.operations.embedded.errors import EmbeddedServerError, one_line

_SECRET_BYTES = 48
_MIN_SECRET_LENGTH = 32


def embedded_secret_key(data_dir: Path) -> str:
    """The secret key in `data_dir`, 64 characters, created on first use. Raises EmbeddedServerError."""
    path = data_dir / "secret_key"
    with one_line(data_dir):
        if not path.exists():
            _create_secret_key(path)
        key = path.read_text(errors="replace").strip()
    if len(key) < _MIN_SECRET_LENGTH:
        raise EmbeddedServerError(f"{path} is damaged: restore it, or delete it (every session then ends)")
    return key


def _create_secret_key(path: Path) -> None:
    """Write a new key unless another process is faster. It appears atomically: the name is linked to a written file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=".secret_key-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_SECRET_BYTES))
            file.flush()
            os.fsync(descriptor)
            server_user.give_to_owner_of(path.parent, descriptor)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
