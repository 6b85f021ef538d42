"""The machine and the versions of a run, without names of the machine or paths on it."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks.apps import HERE
from po_api.operations.embedded.server import embedded_binaries

_PACKAGES = "fastapi starlette pydantic sqlalchemy asyncpg uvicorn uvloop httptools".split()
_PEERS = "flask flask-sqlalchemy gunicorn psycopg orjson".split()


def describe() -> dict[str, str]:
    postgres = subprocess.run(
        [embedded_binaries() / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    found = re.search(r"\d[\d.]*", postgres.stdout)
    versions = {"Python": platform.python_version(), "PostgreSQL": found[0] if found else "?"}
    versions |= {name: version(name) for name in _PACKAGES} | _locked()
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }


def _processor() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _locked() -> dict[str, str]:
    lock = (HERE / "requirements.txt").read_text()
    found = {name: re.search(rf"^{name}(?:\[\w+\])?==(\S+)", lock, re.MULTILINE) for name in _PEERS}
    return {name: match[1] for name, match in found.items() if match}
