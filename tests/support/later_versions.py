"""Later versions of the application: this version with further revisions."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from po_api.operations import revisions

HEAD = revisions.head_revision()
_FILE = '''"""Something more.

Revises: {below}
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "{name}"
down_revision = "{below}"

{body}
'''


def project_with(place: Path, later: Mapping[str, str]) -> Path:
    """A copy of the project's revisions in `place`, and further ones on top of them: their bodies by name."""
    shutil.copytree(revisions.PROJECT / "alembic", place / "alembic", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(revisions.PROJECT / "alembic.ini", place)
    below = HEAD
    for name, body in later.items():
        text = _FILE.format(name=name, below=below, body=body)
        (place / "alembic" / "versions" / f"{name}_further.py").write_text(text)
        below = name
    return place


@contextmanager
def being(project: Path) -> Iterator[None]:
    """Use the revisions of that version in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revisions, "PROJECT", project)
        try:
            yield
        finally:
            patch.undo()
