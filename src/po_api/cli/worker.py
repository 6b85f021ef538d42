"""`po-api worker`."""

import asyncio
import signal
import sys
from contextlib import ExitStack
from typing import Annotated

import typer

from po_api import serving
from po_api.observability import logging
from po_api.observability.metrics import REGISTRY
from po_api.operations.databases import connections
from po_api.operations.metrics.exposition import exposed, metrics_app
from po_api.settings import load_settings
from po_api.worker.process import work

app = typer.Typer()


@app.command()
def worker(
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, then exit.")] = False,
) -> None:
    """Do the work that is due, until interrupted (Ctrl-C, SIGTERM).

    `po-api serve` does it, too, unless WORKER=off. Any number of workers do everything once.
    """
    settings = load_settings()
    logging.configure(settings.log_level)
    # Until the worker connects; exiting runs the exit handlers that stop the embedded server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        scrapes = None if once else serving.listen_to_scrapes(settings)
        found = stack.enter_context(connections(settings, must_exist=True))
        if scrapes is not None:
            stack.enter_context(scrapes)
            stack.enter_context(exposed(metrics_app(settings, found, REGISTRY), scrapes))
        asyncio.run(work(settings, found, once=once))
