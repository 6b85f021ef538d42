"""`deploy/pgbackrest` and `deploy/barman` as shipped, with the tools of this machine on a temporary server.

Only the parts that depend on the machine are replaced: directories, the server's address, the OS user.
"""

import os
import pwd
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from po_api.operations import migrations
from po_api.operations.embedded import server_user
from support.applications import SECRET_KEY
from support.clusters import Cluster, ClusterError, system_binaries
from support.command_line import CommandLine
from support.polling import Deadline, wait_until
from support.watchdog import temporary_directory

pytestmark = [pytest.mark.heavy, pytest.mark.installed]

DEPLOY = Path(__file__).parents[3] / "deploy"
NAME = "po_api"
# pgBackRest itself waits for a segment for 60 s, and then reports the reason.
TIMEOUT = 90
NOT_REACHED = "recovery ended before configured recovery target was reached"


@dataclass(frozen=True)
class Machine:
    """The server, a directory for the tool, and the user that owns both, since they refuse to run as root."""

    cluster: Cluster
    place: Path
    user: pwd.struct_passwd | None
    # The tool as it is called in deploy/, and as it has to be called here.
    called: tuple[str, str]

    @property
    def socket(self) -> Path:
        return Path(str(make_url(self.cluster.url(NAME, "postgres")).query["host"]))

    @property
    def data(self) -> Path:
        return Path(self.psql("SHOW data_directory"))

    @property
    def user_name(self) -> str:
        return (self.user or pwd.getpwuid(os.geteuid())).pw_name

    def start(self, command: str) -> subprocess.Popen[str]:
        """Run a shell command with the tool's configuration."""
        return subprocess.Popen(
            ["/bin/sh", "-c", command.replace(*self.called)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": f"{self.cluster.binaries}:{os.defpath}", "LC_ALL": "C", "HOME": str(self.place)},
            cwd=self.place,
            user=self.user.pw_uid if self.user else None,
            group=self.user.pw_gid if self.user else None,
            extra_groups=[] if self.user else None,
        )

    def run(self, command: str) -> tuple[int, str]:
        """The exit code and the output of a command."""
        with self.start(command) as process:
            output, _ = process.communicate(timeout=TIMEOUT)
        return process.returncode, output.strip()

    def ok(self, command: str) -> str:
        code, output = self.run(command)
        assert code == 0, f"{command}: {output}"
        return output

    def psql(self, sql: str, socket: Path | None = None) -> str:
        return self.ok(f"psql -XAtq -h {socket or self.socket} -U postgres -d {NAME} -c {shlex.quote(sql)}")

    def write(self, name: str) -> None:
        self.psql(f"INSERT INTO organisations (name) VALUES ('{name}')")

    def names(self, socket: Path) -> list[str]:
        return self.psql("SELECT name FROM organisations ORDER BY id", socket).splitlines()

    def now(self) -> str:
        return self.psql("SELECT clock_timestamp()")

    def install(self, source: str, target: str, replaced: Mapping[str, object]) -> Path:
        """Copy a file of deploy/ to the tool's directory with these paths replaced; each must occur in it."""
        text = (DEPLOY / source).read_text()
        for shipped, here in replaced.items():
            assert shipped in text
            text = text.replace(shipped, str(here))
        path = self.place / target
        path.write_text(text)
        return path

    def scheduled(self, words: str) -> str:
        """The command of the crontab that contains these words."""
        lines = (DEPLOY / self.called[0].split()[0] / "cron").read_text().splitlines()
        [found] = [line for line in lines if words in line and not line.startswith("#")]
        return found.split(maxsplit=6)[6]

    @contextmanager
    def restored(self) -> Iterator[tuple[Path, str]]:
        """Start the server restored to `place`/restored; yields its socket's directory, and its log of the recovery."""
        data, log = self.place / "restored", self.place / "restored.log"
        settings = {name: value for name, value in self.cluster.settings.items() if not name.startswith("archive")}
        settings |= {"unix_socket_directories": str(self.place), "listen_addresses": ""}
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        self.run(f"pg_ctl start -D {data} -w -s -l {log} -o {shlex.quote(options)}")
        recovering = f"psql -XAtq -h {self.place} -U postgres -d postgres -c 'SELECT pg_is_in_recovery()'"
        try:
            wait_until(
                lambda: not (data / "postmaster.pid").exists() or self.run(recovering) == (0, "f"),
                "the end of the recovery",
            )
            yield self.place, log.read_text()
        finally:
            self.run(f"pg_ctl stop -D {data} -w -s -m immediate")
            shutil.rmtree(data)
            log.unlink()

    def status(self, socket: Path) -> tuple[int, str]:
        """The output of `po-api migrate --status` for a restored database."""
        url = make_url(self.cluster.url(NAME, "po_owner"))
        there = url.set(query=url.query | {"host": str(socket)}).render_as_string(hide_password=False)
        po = CommandLine.at(self.place, DATABASE_URL=there, SECRET_KEY=SECRET_KEY)
        code, output, errors = po.run("migrate", "--status")
        return code, output + errors


@contextmanager
def machine(tool: str, called: str, here: str, settings: Mapping[str, str]) -> Iterator[Machine]:
    """`here` and the settings may contain {place}."""
    if os.environ.get("PO_TEST_POSTGRES") != "system":
        pytest.skip("these tools serve an installed PostgreSQL: once is enough, with PO_TEST_POSTGRES=system")
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    try:
        binaries = system_binaries()
    except ClusterError as error:
        pytest.skip(str(error))
    with ExitStack() as stack:
        place = stack.enter_context(temporary_directory(f"po-{tool}-"))
        user = server_user.find(Path(__file__).parent)
        if user:
            os.chown(place, user.pw_uid, user.pw_gid)
        filled = {name: value.format(place=place) for name, value in settings.items()}
        cluster = stack.enter_context(Cluster(binaries, filled))
        yield Machine(cluster, place, user, (called, here.format(place=place)))


async def migrate(cluster: Cluster) -> None:
    await migrations.upgrade(owner_url=cluster.url(NAME, "po_owner"), app_url=cluster.url(NAME, "po_app"))


def parameters(file: str) -> dict[str, str]:
    """The settings of a shipped part of postgresql.conf."""
    found = re.findall(r"^(\w+) = (.+)$", (DEPLOY / file).read_text(), re.MULTILINE)
    return {name: value.strip("'") for name, value in found}


@contextmanager
def flipped(path: Path) -> Iterator[None]:
    """Flip one bit in the middle of a file."""
    before = path.read_bytes()
    middle = len(before) // 2
    path.write_bytes(before[:middle] + bytes([before[middle] ^ 1]) + before[middle + 1 :])
    try:
        yield
    finally:
        path.write_bytes(before)


@contextmanager
def missing(path: Path) -> Iterator[None]:
    before, owner = path.read_bytes(), path.stat()
    path.unlink()
    try:
        yield
    finally:
        path.write_bytes(before)
        os.chown(path, owner.st_uid, owner.st_gid)


@pytest.fixture(scope="module")
async def pgbackrest() -> AsyncIterator[Machine]:
    """pgBackRest with a full backup and a later incremental one."""
    called, here = "pgbackrest --stanza", "pgbackrest --config={place}/pgbackrest.conf --stanza"
    settings = parameters("pgbackrest/postgresql.conf")
    settings["archive_command"] = settings["archive_command"].replace(called, here)
    with machine("pgbackrest", called, here, settings) as made:
        places = {
            "/var/lib/pgbackrest": made.place / "repository",
            "/var/spool/pgbackrest": made.place / "spool",
            "/var/log/pgbackrest": made.place / "log",
            "/tmp/pgbackrest": made.place / "lock",
            "/var/lib/postgresql/15/main": made.data,
            "/var/run/postgresql": made.socket,
        }
        made.install("pgbackrest/pgbackrest.conf", "pgbackrest.conf", places)
        made.ok("mkdir repository spool log lock beside")
        made.ok("pgbackrest --stanza=po-api stanza-create")
        await migrate(made.cluster)
        made.ok(made.scheduled("--type=full"))
        made.write("before the incremental backup")
        made.ok(made.scheduled("--type=incr"))
        yield made


def restore(pgbackrest: Machine, moment: str) -> None:
    """Restore to `restored`, with a separate spool and locks, since a restore clears these directories."""
    place = pgbackrest.place
    beside = f"--pg1-path={place}/restored --spool-path={place}/beside --lock-path={place}/beside --archive-mode=off"
    target = f"--type=time --target={shlex.quote(moment)} --target-action=promote"
    pgbackrest.ok(f"pgbackrest --stanza=po-api {beside} {target} restore")


def segments(pgbackrest: Machine) -> list[Path]:
    return sorted(pgbackrest.place.glob("repository/archive/po-api/*/*/*-*"))


def test_pgbackrest_restores_to_a_moment(pgbackrest: Machine) -> None:
    pgbackrest.write("at the moment")
    moment = pgbackrest.now()
    pgbackrest.write("after it")
    assert pgbackrest.ok(pgbackrest.scheduled("po-api check")) == ""

    restore(pgbackrest, moment)
    with pgbackrest.restored() as (socket, _):
        assert pgbackrest.names(socket) == ["before the incremental backup", "at the moment"]
        assert pgbackrest.status(socket)[0] == 0
        # Otherwise its WAL would be mixed with that of the original server.
        assert pgbackrest.psql("SHOW archive_mode", socket) == "off"


def test_pgbackrest_finds_a_flipped_byte(pgbackrest: Machine) -> None:
    verify = pgbackrest.scheduled("verify")
    largest = max(pgbackrest.place.glob("repository/backup/po-api/*F/bundle/*"), key=lambda path: path.stat().st_size)
    with flipped(largest):
        assert "status: invalid" in pgbackrest.run(verify)[1]
    assert "invalid" not in pgbackrest.ok(verify)


def test_pgbackrest_stops_at_missing_wal(pgbackrest: Machine) -> None:
    pgbackrest.write("in the segment that goes missing")
    pgbackrest.ok("pgbackrest --stanza=po-api check")
    lost = segments(pgbackrest)[-1]
    pgbackrest.ok("pgbackrest --stanza=po-api check")

    with missing(lost):
        restore(pgbackrest, pgbackrest.now())
        with pgbackrest.restored() as (_, log):
            assert NOT_REACHED in log


def test_check_pgbackrest_finds_missing_wal(pgbackrest: Machine) -> None:
    if shutil.which("check_pgbackrest") is None:
        pytest.skip("check_pgbackrest is not installed")
    pgbackrest.ok("pgbackrest --stanza=po-api check")
    lost = segments(pgbackrest)[-1]
    pgbackrest.ok("pgbackrest --stanza=po-api check")

    archives = pgbackrest.scheduled("--service=archives")
    assert pgbackrest.ok(archives) == ""
    assert pgbackrest.ok(pgbackrest.scheduled("--service=retention")) == ""
    with missing(lost):
        assert "missing" in pgbackrest.run(archives)[1]


# PostgreSQL sends the end of a segment up to 15 s late if nothing else is written, which a busy server does.
SOMETHING = "SELECT pg_create_restore_point('something')"


def file_wal(barman: Machine) -> Path:
    """Switch the segment as `barman switch-wal --archive` does; returns the archived file."""
    segment = barman.psql("SELECT pg_walfile_name(pg_switch_wal())")
    barman.psql(SOMETHING)
    found: list[Path] = []

    def is_filed() -> bool:
        barman.ok("barman archive-wal po-api")
        found.extend(barman.place.glob(f"home/po-api/wals/*/{segment}"))
        return bool(found)

    wait_until(is_filed, f"{segment} in the archive")
    return found[0]


def back_up(barman: Machine) -> None:
    with barman.start(barman.scheduled("backup --wait")) as backup:
        deadline = Deadline("the end of the backup")
        while backup.poll() is None:
            deadline.check()
            barman.psql(SOMETHING)
            time.sleep(0.2)
        assert (backup.returncode, backup.stdout and backup.stdout.read()) == (0, "")


@pytest.fixture(scope="module")
async def barman() -> AsyncIterator[Machine]:
    """Barman with two backups, as its configuration requires, and WAL streaming."""
    with machine("barman", "barman ", "barman -c {place}/barman.conf ", parameters("barman/postgresql.conf")) as made:
        home, servers = made.place / "home", made.place / "servers"
        made.ok("mkdir home servers")
        made.ok(f"psql -XAtq -h {made.socket} -U postgres -f {made.install('barman/roles.sql', 'roles.sql', {})}")
        places = {
            "barman_user = barman": f"barman_user = {made.user_name}",
            "/etc/barman.d": servers,
            "/var/lib/barman": home,
            "/var/log/barman/": f"{made.place}/",
        }
        made.install("barman/barman.conf", "barman.conf", places)
        places = {"host=db": f"host={made.socket}", "/usr/lib/postgresql/15/bin": made.cluster.binaries}
        made.install("barman/po-api.conf", "servers/po-api.conf", places)
        await migrate(made.cluster)
        # What `barman cron` starts in the background.
        receiver = made.start("barman receive-wal po-api")
        try:
            wait_until(lambda: made.psql("SELECT state FROM pg_stat_replication") == "streaming", "streaming")
            file_wal(made)
            for _ in range(2):
                back_up(made)
            yield made
        finally:
            made.run("barman receive-wal --stop po-api")
            receiver.communicate()


def recover(barman: Machine, moment: str) -> None:
    """Restore to `restored`, on Barman's machine."""
    target = f"--target-time {shlex.quote(moment)} --target-action promote"
    barman.ok(f"barman recover {target} po-api latest {barman.place}/restored")
    settings = barman.place / "restored/postgresql.auto.conf"
    called, here = barman.called
    generated = settings.read_text()
    through_sudo = f"sudo -u {barman.user_name} {called}"
    assert through_sudo in generated
    settings.write_text(generated.replace(through_sudo, here))


def test_barman_finds_nothing_wrong(barman: Machine) -> None:
    assert barman.ok(barman.scheduled("check")) == ""
    barman.ok(barman.scheduled("verify-backup"))


def test_barman_restores_to_a_moment_of_a_second_ago(barman: Machine) -> None:
    """Without a segment switch: the received part of the last segment must suffice."""
    barman.write("at the moment")
    moment = barman.now()
    barman.write("after it")
    barman.write("behind all that was committed")
    [partial] = barman.place.glob("home/po-api/streaming/*.partial")
    wait_until(lambda: b"behind all that was committed" in partial.read_bytes(), "the streamed record")

    recover(barman, moment)
    with barman.restored() as (socket, log):
        assert barman.names(socket) == ["at the moment"], log
        assert barman.status(socket)[0] == 0


def test_barman_finds_a_flipped_byte(barman: Machine) -> None:
    latest = max(barman.place.glob("home/po-api/base/*/data/base"))
    with flipped(max(latest.glob("*/*"), key=lambda path: path.stat().st_size)):
        code, output = barman.run(barman.scheduled("verify-backup"))
    assert code == 1
    assert "checksum mismatch" in output


def test_barman_stops_at_missing_wal(barman: Machine) -> None:
    barman.write("in the segment that goes missing")
    lost = file_wal(barman)
    with flipped(lost):
        segments = barman.scheduled("gzip").replace("/var/lib/barman", f"{barman.place}/home")
        assert barman.run(segments)[0] != 0

    with missing(lost):
        recover(barman, barman.now())
        with barman.restored() as (_, log):
            assert NOT_REACHED in log
