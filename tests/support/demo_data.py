"""Data directories of the embedded server with the demo organisation, copied from one that is made once."""

import asyncio
from pathlib import Path

from po_api.operations.embedded.server import embedded_binaries, embedded_server
from support.clusters import drop_templates, migrated_directory
from support.made_once import copy_directory, made_once
from support.watchdog import temporary_directory


def copy_demo(data_dir: Path) -> None:
    """Create a data directory with the demo organisation."""
    copy_directory(made_once("demo", _make), data_dir)


def _make(data_dir: Path) -> None:
    from support.command_line import CommandLine

    with temporary_directory("po-demo-") as place:
        po = CommandLine.at(place)
        po.data_dir.mkdir()
        copy_directory(migrated_directory(embedded_binaries()) / "postgres", po.data_dir / "postgres")
        with embedded_server(po.data_dir) as urls:
            asyncio.run(drop_templates(urls))
            po.ok("seed-demo")
        copy_directory(po.data_dir, data_dir)
