"""`alembic revision`: a new file gets the next number, or the command fails."""

import os
import subprocess
from pathlib import Path

import pytest

from po_api.operations.revisions import PROJECT
from support.clusters import Cluster
from support.command_line import CommandLine
from support.forked import Forked, alembic
from support.later_versions import HEAD, project_with
from support.migrations import BINARIES, migrated_database

NEXT = f"{int(HEAD) + 1:03}"
AFTER = f"{int(HEAD) + 2:03}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's revisions."""
    (tmp_path / "project").mkdir()
    return project_with(tmp_path / "project", {})


def _files(project: Path) -> set[str]:
    return {path.name for path in (project / "alembic" / "versions").glob("*.py")}


def _alembic(project: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit status, and the last line of the output."""
    variables = {"PATH": os.environ["PATH"]} | environment
    process = Forked(alembic, *arguments, environment=variables, directory=project)
    output, errors = process.communicate()
    assert "Traceback" not in errors, errors
    return process.wait(), (output + errors).strip().rpartition("\n")[2]


async def test_it_gets_the_next_number(cluster: Cluster, project: Path) -> None:
    async with migrated_database(cluster) as database:
        environment = {"DATABASE_URL": database.owner}
        before = _files(project)
        assert _alembic(project, environment, "revision", "--autogenerate", "-m", "What it brings")[0] == 0
        assert _files(project) - before == {f"{NEXT}_what_it_brings.py"}
        path = project / "alembic" / "versions" / f"{NEXT}_what_it_brings.py"
        text = path.read_text()
        assert f"Revises: {HEAD}" in text
        assert f'revision = "{NEXT}"' in text
        # Nothing to mend before the first edit, but for imports of what a draft without operations does not use.
        options = ("--no-cache", "--config", PROJECT / "pyproject.toml", "--ignore", "F401")
        found = subprocess.run(
            [BINARIES / "ruff", "check", *options, path], capture_output=True, text=True, check=False, timeout=120
        )
        assert found.returncode == 0, found.stdout

        assert _alembic(project, environment, "upgrade", "head")[0] == 0
        assert _alembic(project, environment, "revision", "-m", "more")[0] == 0
        assert _files(project) - before == {f"{NEXT}_what_it_brings.py", f"{AFTER}_more.py"}


async def test_a_number_that_is_taken_is_refused_and_no_file_is_left(cluster: Cluster, project: Path) -> None:
    async with migrated_database(cluster) as database:
        before = _files(project)
        status, line = _alembic(project, {"DATABASE_URL": database.owner}, "revision", "--rev-id", HEAD, "-m", "again")
        assert (status != 0, f"there is a revision {HEAD} already" in line) == (True, True)
        assert _files(project) == before


async def test_on_a_database_that_is_not_at_head_no_file_is_left(cluster: Cluster, project: Path) -> None:
    async with migrated_database(cluster, "012") as database:
        before = _files(project)
        status, line = _alembic(
            project, {"DATABASE_URL": database.owner}, "revision", "--autogenerate", "-m", "what it brings"
        )
        assert (status != 0, "not up to date" in line) == (True, True)
        assert _files(project) == before


def test_the_embedded_server_does_as_well(project: Path, tmp_path: Path) -> None:
    CommandLine.at(tmp_path).ok("migrate")
    before = _files(project)
    environment = {"PO_DATA_DIR": str(tmp_path / "data")}
    status, line = _alembic(project, environment, "revision", "--autogenerate", "-m", "what it brings")
    assert status == 0, line
    assert _files(project) - before == {f"{NEXT}_what_it_brings.py"}
