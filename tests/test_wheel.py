"""The wheel: its contents, and that it migrates and serves without a checkout."""

import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from po_api.operations.revisions import PROJECT, head_revision

pytestmark = pytest.mark.heavy

TIMEOUT = 120
# Installed packages are borrowed from the tests' environment; the editable installation of the project is not.
START = """
import sys
sys.path.remove(sys.argv.pop(1))
import po_api
assert po_api.__file__.startswith(sys.argv.pop(1)), po_api.__file__
from po_api.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `pip wheel .` does, with the build backend that is installed."""
    place = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-build-isolation", "--wheel-dir", str(place), str(PROJECT))
    (path,) = place.glob("po_api-*.whl")
    return path


def _pip(command: str, *arguments: str) -> None:
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *options, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr


def test_it_holds_what_running_takes_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(name for name in names if name.endswith("/entry_points.txt"))
        assert "po-api = po_api.cli.main:main" in archive.read(entry_points).decode()
    expected = {
        f"po_api/{path.relative_to(PROJECT / 'src' / 'po_api')}"
        for path in (PROJECT / "src" / "po_api").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    } | {
        f"po_api/_alembic/{path.relative_to(PROJECT)}"
        for path in (PROJECT / "alembic").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.mark.exhaustive
def test_it_migrates_and_serves_elsewhere(wheel: Path, tmp_path: Path) -> None:
    _pip("install", "--target", str(tmp_path / "installed"), str(wheel))
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(tmp_path / "installed"),
        "PO_DATA_DIR": str(tmp_path / "data"),
        "PORT": "0",
    }
    command = [sys.executable, "-c", START, str(PROJECT / "src"), str(tmp_path / "installed"), "serve", "--demo"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+(?=/docs)", process.stdout.readline())
        assert found is not None, (tmp_path / "log").read_text()
        ready = httpx.get(f"{found[0]}/health/ready", timeout=TIMEOUT)
        assert (ready.status_code, ready.json()["revision"]) == (200, head_revision())
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)
