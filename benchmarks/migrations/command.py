"""`po-api migrate` as a process of its own, on the same cores as the load."""

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.database import Server

# `po-api` with the revisions of another directory.
_COMMAND = """
import sys
from pathlib import Path
from po_api.operations import revisions
revisions.PROJECT = Path(sys.argv.pop(1))
from po_api.cli.main import main
main()
"""


async def migrate(server: Server, project: Path, to: str) -> Mapping[str, float]:
    """Migrate to a later revision; returns the seconds that the command reports for each revision."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _COMMAND, str(project), "migrate", "--to", to, "--no-backup"),
        cwd=tempfile.gettempdir(),  # without the .env of the checkout
        env={"PATH": os.environ["PATH"], "DATABASE_URL": server.urls.app, "DATABASE_MIGRATION_URL": server.urls.owner},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    found = {name: float(seconds) for name, seconds in re.findall(r"(?m)^(\w+) +([\d.]+) s", output.decode())}
    if process.returncode or not found:
        raise SystemExit(f"po-api migrate --to {to} failed")
    return found
