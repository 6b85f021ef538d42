"""A killed test run leaves no processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from po_api.operations.embedded.server import embedded_binaries
from support.clusters import migrated_directory
from support.polling import is_running, wait_until

pytestmark = pytest.mark.heavy

# A process that uses the embedded server, as `po-api serve` does; it writes a line once that runs.
USER = """
import signal, sys
from pathlib import Path
from po_api.operations.embedded.server import embedded_server
with embedded_server(Path(sys.argv[1])):
    print("runs", flush=True)
    signal.pause()
"""
# Servers as tests start them: by our own process, by PostgreSQL's programs, and by a process of the test's. That they
# copy is made by this run.
INNER = f"""
import json, os, signal, subprocess, sys
from contextlib import contextmanager
from pathlib import Path
from support.clusters import Cluster, Standby
from support.made_once import copy_directory
from support.watchdog import run_directory, temporary_directory, watched

@contextmanager
def watched_run(place):
    made = Path(os.environ["MADE"])
    with watched(place):
        copy_directory(made, run_directory() / made.name)
        yield

def test_runs_until_it_is_killed(tmp_path):
    with (
        watched_run(tmp_path),
        Cluster.embedded().another(wal_level="replica", max_wal_senders="4") as primary,
        Standby(primary) as standby,
        temporary_directory("po-used-") as used,
    ):
        command = [sys.executable, "-c", {USER!r}, str(used)]
        user = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE)
        user.stdout.readline()
        places = [primary.directory, standby.directory, used]
        pids = [user.pid, *(int(next(place.rglob("postmaster.pid")).open().readline()) for place in places)]
        report = Path(os.environ["REPORT"])
        report.with_suffix(".new").write_text(json.dumps([pids, [str(place) for place in places]]))
        report.with_suffix(".new").rename(report)
        signal.pause()
"""


@pytest.mark.exhaustive
def test_servers_end_with_the_run_that_started_them(tmp_path: Path) -> None:
    report, inner = tmp_path / "report.json", tmp_path / "test_inner.py"
    inner.write_text(INNER)
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}"]
    command = [sys.executable, "-m", "pytest", *options, str(inner)]
    support = str(Path(__file__).parent)
    made = migrated_directory(embedded_binaries())
    environment = os.environ | {"PYTHONPATH": support, "REPORT": str(report), "MADE": str(made)}
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: report.exists() or run.poll() is not None, "servers that run")
        assert run.poll() is None, (tmp_path / "log").read_text()
        pids, places = json.loads(report.read_text())
        families = [process for pid in pids for process in (psutil.Process(pid), *psutil.Process(pid).children(True))]
        assert all(is_running(process.pid) for process in families)
    finally:
        run.kill()
        run.wait()
    wait_until(lambda: not any(is_running(process.pid) for process in families), "the end of what the run has started")
    wait_until(lambda: not any(Path(place).exists() for place in places), "the end of its directories")
