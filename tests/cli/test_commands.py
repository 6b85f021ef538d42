"""The command line in separate processes, started by its file where more than a message is checked."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from po_api.cli import main as cli
from po_api.cli.lazy import load
from support.applications import CANARY, SECRET_KEY, canary_answers
from support.demo_data import copy_demo
from support.forked import Forked, ForkedServer, po_api
from support.organisations import Member, TestOrganisation, again, ok
from support.server_processes import free_port, serving

pytestmark = pytest.mark.heavy

COMMAND = Path(sys.executable).with_name("po-api")
TIMEOUT = 60
Environment = dict[str, str]


@pytest.fixture
def outside(tmp_path: Path) -> Environment:
    """An environment with a temporary data directory, and no other configuration."""
    names = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | {"PO_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def configured(outside: Environment, urls: tuple[str, str], organisation: TestOrganisation) -> Environment:
    """An environment with the tests' database, which has the test's organisation."""
    owner, application = urls
    return outside | {"DATABASE_URL": application, "DATABASE_MIGRATION_URL": owner, "SECRET_KEY": SECRET_KEY}


def _run(environment: Environment, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = Forked(po_api, *arguments, environment=environment, directory=place)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(arguments, process.wait(), output, errors)


def _says(done: subprocess.CompletedProcess[str], words: str) -> bool:
    """Whether the command failed with one line on stderr that contains `words`."""
    line = done.stderr.removesuffix("\n")
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert line.startswith("po-api: ")
    assert "\n" not in line
    return words in line


def _commands(group: TyperGroup) -> Iterator[list[str]]:
    for name, command in group.commands.items():
        yield [name]
        if isinstance(command, TyperGroup):
            yield from ([name, *rest] for rest in _commands(command))


def test_every_command_explains_itself() -> None:
    root = typer.main.get_group(cli.app)
    root.commands = {name: load(name, lazy) for name, lazy in cli.Commands.modules.items()}
    commands = list(_commands(root))
    assert ["sessions", "create"] in commands
    for command in ([], *commands):
        result = CliRunner().invoke(cli.app, [*command, "--help"])
        assert result.exit_code == 0
        assert "Usage:" in result.output


def test_the_list_of_commands_has_the_summary_of_each_command() -> None:
    for name, lazy in cli.Commands.modules.items():
        assert load(name, lazy).help.partition("\n\n")[0] == lazy.summary


async def test_sessions_create_prints_a_token_and_nothing_else(
    configured: Environment, tmp_path: Path, organisation: TestOrganisation
) -> None:
    command = [str(COMMAND), "sessions", "create", "--email", organisation.buyer.email.upper()]
    done = subprocess.run(
        command, env=configured, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.stdout)
    signed_in = Member(organisation.buyer.client, 0, "", done.stdout.strip())
    assert (await ok(signed_in.get("/users/me"))).json()["email"] == organisation.buyer.email


async def test_an_operator_lets_an_organisation_send_mail(
    configured: Environment, tmp_path: Path, organisation: TestOrganisation
) -> None:
    command = ("organisations", "allow-mail", str(organisation.organisation_id), "--per-day")
    for number, shown in (("50", 50), ("0", None)):
        done = _run(configured, tmp_path, *command, number)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (await ok(organisation.admin.get("/organisations/current"))).json()["mail_per_day"] == shown
    assert _says(_run(configured, tmp_path, "organisations", "allow-mail", "8000000", "--per-day", "1"), "not found")


def test_an_unknown_address_is_one_line(configured: Environment, tmp_path: Path) -> None:
    done = _run(configured, tmp_path, "sessions", "create", "--email", "nobody@nowhere.example")
    assert _says(done, "User not found")


async def test_a_deactivated_user_is_signed_out(
    configured: Environment, tmp_path: Path, organisation: TestOrganisation
) -> None:
    listed = _run(configured, tmp_path, "users", "list").stdout
    line = next(line for line in listed.splitlines() if organisation.approver.email in line)
    assert line.split("\t")[1:4] == [str(organisation.organisation_id), "active", "approver"]
    pending = await organisation.pending()
    done = _run(configured, tmp_path, "users", "deactivate", "--email", organisation.approver.email)
    assert done.returncode == 0
    assert pending.json()["number"] in done.stderr
    assert (await organisation.approver.get("/users/me")).status_code == 401
    assert _says(_run(configured, tmp_path, "users", "deactivate", "--email", organisation.admin.email), "admin")


def test_purge_prints_the_number_of_deleted_sessions(configured: Environment, tmp_path: Path) -> None:
    done = _run(configured, tmp_path, "sessions", "purge", "--days", "3650")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


async def test_a_worker_does_what_is_due_once(
    configured: Environment, tmp_path: Path, organisation: TestOrganisation
) -> None:
    order = await organisation.issued()
    assert _run(configured, tmp_path, "documents", "retry").returncode == 0
    done = _run(configured, tmp_path, "worker", "--once")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (await again(organisation.buyer, order)).json()["document_status"] == "stored"


def test_migrate_prints_the_status_of_the_database(configured: Environment, tmp_path: Path) -> None:
    done = _run(configured, tmp_path, "migrate", "--status")
    found = re.fullmatch(r"database: (\w+), this version: (\w+)\n", done.stdout)
    assert found is not None
    assert found[1] == found[2]
    assert _says(_run(configured, tmp_path, "migrate", "--to", "999"), "--to 999: there is no such revision")


def test_migrations_go_past_pgbouncer(configured: Environment, tmp_path: Path) -> None:
    del configured["DATABASE_MIGRATION_URL"]
    done = _run(configured | {"DB_PGBOUNCER": "true"}, tmp_path, "migrate")
    assert _says(done, "DATABASE_MIGRATION_URL: required with DB_PGBOUNCER")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", CANARY),
        ("DATABASE_URL", f"mysql://u:{CANARY}@h/d"),
        ("DATABASE_URL", f"postgresql://u:1#{CANARY}@h/d"),
        ("DATABASE_MIGRATION_URL", f"postgresql://u:1/{CANARY}@h/d"),
        ("DATABASE_URL", f"postgresql://u:{CANARY}@h/d?channel_binding=require"),
        ("PORT", CANARY),
        ("SECRET_KEY", ""),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it(
    configured: Environment, tmp_path: Path, name: str, value: str
) -> None:
    done = _run(configured | {"PORT": "0"} | {name: value}, tmp_path, "serve")
    assert _says(done, f"po-api: {name}: ")
    assert CANARY not in done.stderr


def test_an_unreachable_database_is_one_line(configured: Environment, tmp_path: Path) -> None:
    url = f"postgresql://po_app:{CANARY}@127.0.0.1:1/po_api"
    for command in (["users", "list"], ["serve"]):
        done = _run(configured | {"DATABASE_URL": url, "PORT": "0"}, tmp_path, *command)
        assert _says(done, "database")
        assert CANARY not in done.stderr


def test_a_port_in_use_is_one_line(configured: Environment, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        for variables in ({"PORT": port}, {"PORT": "0", "METRICS_PORT": port}):
            done = _run(configured | variables, tmp_path, "serve")
            assert _says(done, f"{[*variables][-1]}: cannot listen on 127.0.0.1:{port}")


@pytest.mark.parametrize("below", ["a regular file", "what cannot be written to"])
def test_a_data_directory_that_cannot_be_made_is_one_line(outside: Environment, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    place = {"a regular file": tmp_path / "file" / "data", "what cannot be written to": Path("/proc/po-data")}[below]
    done = _run(outside | {"PO_DATA_DIR": str(place)}, tmp_path, "users", "list")
    assert _says(done, str(place))


@contextmanager
def _serving(environment: Environment, place: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`serve --demo` and its address; stderr is written to the file `log`."""
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [str(COMMAND), "serve", "--demo"],
            env=environment | {"PORT": "0"},
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+(?=/docs)", process.stdout.readline())
            assert found is not None, (place / "log").read_text()
            yield process, found[0]
        finally:
            process.terminate()
            process.communicate(timeout=TIMEOUT)


def _token(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().split()[-1]


def _stop(process: subprocess.Popen[str] | ForkedServer, how: signal.Signals, data: Path) -> None:
    """Stop the process, and check that it has ended with all that it started, the embedded server by its file."""
    (pid_file,) = data.rglob("postmaster.pid")
    server = psutil.Process(int(pid_file.read_text().split()[0]))
    started = [server, *server.children(recursive=True), *psutil.Process(process.pid).children(recursive=True)]
    assert "postgres" in server.name()
    process.send_signal(how)
    process.wait(timeout=TIMEOUT)
    _, alive = psutil.wait_procs(started, timeout=TIMEOUT)
    assert alive == []


def test_serve_keeps_its_data_and_stops_what_it_started(outside: Environment, tmp_path: Path) -> None:
    copy_demo(tmp_path / "data")
    with _serving(outside, tmp_path) as (process, address):
        headers = {"Authorization": f"Bearer {_token(process)}"}
        # The hint names the command as it was called: not every installation is in .venv.
        assert process.stdout is not None
        assert f"{COMMAND} sessions create" in process.stdout.readline()
        assert httpx.get(f"{address}/health/ready", timeout=TIMEOUT).json()["row_level_security"] == "active"
        body = {"name": "Kept Ltd"}
        made = httpx.post(f"{address}/api/v1/suppliers", json=body, headers=headers, timeout=TIMEOUT)
        assert made.status_code == 201
        _stop(process, signal.SIGINT, tmp_path / "data")
        assert process.returncode in {0, 130}
    with serving(outside | {"PORT": str(free_port())}, tmp_path, "--demo") as server:
        location = made.headers["Location"]
        again = httpx.get(f"{server.address}{location}", headers=headers, timeout=TIMEOUT)
        assert again.json()["name"] == "Kept Ltd"
        _stop(server.process, signal.SIGTERM, tmp_path / "data")
        assert server.process.returncode == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


async def test_what_was_sent_is_not_in_the_log(
    configured: Environment, tmp_path: Path, organisation: TestOrganisation
) -> None:
    limits = {"RATE_LIMIT_PER_USER": "10000/minute", "RATE_LIMIT_PER_ADDRESS": "10000/minute"}
    more = {"LOG_LEVEL": "DEBUG", "PORT": str(free_port())}
    with serving(configured | limits | more, tmp_path, "--demo") as server:
        async with httpx.AsyncClient(base_url=server.address, timeout=TIMEOUT) as client:
            answers = await canary_answers(Member(client, 0, "", organisation.requester.token))
    log = (tmp_path / "log").read_text()
    finished = [line for line in log.splitlines() if '"event": "request_finished"' in line]
    # The server is asked whether it is ready before that.
    assert len([line for line in finished if "/health/" not in line]) == len(answers) > 50
    for secret in (CANARY, organisation.requester.token, organisation.requester.email, SECRET_KEY):
        assert secret not in log
