"""The start of commands: the modules that they import, and the database that they require."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import CommandLine

pytestmark = pytest.mark.heavy

# The modules that take longest to import, and that only the API needs.
OF_THE_API = (
    "fastapi",
    "starlette",
    "uvicorn",
    "typst",
    "httpx",
    "alembic",
    "limits",
    "email_validator",
    "iso4217",
    "xlsxwriter",
    "babel",
    "po_api.app",
    "po_api.porfs",
    "po_api.purchase_orders",
)
OF_THE_DATABASE = ("sqlalchemy", "asyncpg", "pydantic", "structlog", "jose", "po_api.settings")
# Runs the command, then prints which of the modules it has imported.
IMPORTED = """
import sys
modules, sys.argv = sys.argv[1].split(","), ["po-api", *sys.argv[2:]]
from po_api.cli.main import main
try:
    main()
finally:
    print(*(name for name in modules if name in sys.modules), sep=",", file=sys.stderr)
"""


def _imported(modules: tuple[str, ...], *arguments: str, environment: dict[str, str]) -> list[str]:
    """The modules of these that a command imports; the command must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, ",".join(modules), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stderr.splitlines()[-1].split(",")


def test_help_imports_neither_the_api_nor_the_database() -> None:
    assert _imported((*OF_THE_API, *OF_THE_DATABASE), "--help", environment=dict(os.environ)) == [""]


def test_sessions_create_imports_nothing_of_the_api(tmp_path: Path) -> None:
    with CommandLine.with_demo(tmp_path) as po:
        options = ("sessions", "create", "--email", "admin@demo.example")
        assert _imported((*OF_THE_API, "sqlalchemy"), *options, environment=po.environment) == ["sqlalchemy"]


@pytest.mark.parametrize(
    "command",
    [
        "sessions create --email admin@demo.example",
        "sessions purge",
        "users list",
        "users create --email ada@company.example --name Ada",
        "users deactivate --email ada@company.example",
        "organisations create --name Company",
        "idempotency-keys purge",
        "seed-demo",
        "migrate --status",
        "backup create",
        "backup confirm",
        "backup settle --restored-to 2026-11-22T10:00:00Z",
    ],
)
def test_without_a_database_a_command_fails_with_a_hint_and_creates_nothing(tmp_path: Path, command: str) -> None:
    po = CommandLine.at(tmp_path)
    line = po.fails(*command.split())
    assert line == f"po-api: there is no database in {po.data_dir}: run `make run` or `po-api migrate` first"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", ["list", "verify"])
def test_without_backups_nothing_is_created(tmp_path: Path, command: str) -> None:
    po = CommandLine.at(tmp_path)
    code, output, errors = po.run("backup", command)
    assert output == ""
    assert (code, errors) == (0, "") or "there is no backup" in errors
    assert [*tmp_path.iterdir()] == []
