"""Serving: in this process, or in several workers that share one socket and are looked after by this process."""

import multiprocessing
import os
import signal
import socket
import threading
from contextlib import ExitStack
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from po_api.app import create_app
from po_api.observability import logging
from po_api.observability.logging import get_logger
from po_api.observability.metrics import REGISTRY
from po_api.operations.databases import Connections
from po_api.operations.metrics.exposition import exposed, metrics_app
from po_api.operations.metrics.processes import workers_files
from po_api.settings import Settings, SettingsError

# Process managers kill a server after 30 seconds by default; it has ended by then.
GRACEFUL_SECONDS = 25
# Idle connections outlive the minute that proxies keep theirs, or a request could meet one that is just being closed.
KEEP_ALIVE_SECONDS = 75
# A worker that does not answer for so long hangs. It answers from a thread of its own, once its modules are loaded.
HUNG_SECONDS = 30

_log = get_logger(__name__)


def listen(settings: Settings) -> socket.socket:
    """The socket, bound before anything is started: a port in use is found out at once. SettingsError."""
    return _listen("HOST, PORT", settings.host, settings.port)


def listen_to_scrapes(settings: Settings) -> socket.socket | None:
    """The socket of `/metrics`; None if METRICS_PORT is not set."""
    if settings.metrics_port is None:
        return None
    return _listen("METRICS_HOST, METRICS_PORT", settings.metrics_host, settings.metrics_port)


def _listen(variables: str, host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        # Python appends the address in brackets to some of the system's reasons.
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise SettingsError(f"{variables}: cannot listen on {host}:{port}: {reason}") from None


def serve(settings: Settings, found: Connections, listener: socket.socket, scrapes: socket.socket | None) -> None:
    """Serve until a signal ends it, on a schema that the caller has found to be this version's."""
    app = create_app(settings, found, is_checked=True)
    is_alone = settings.web_concurrency == 1
    with ExitStack() as stack:
        if scrapes is not None:
            counted = REGISTRY if is_alone else stack.enter_context(workers_files())
            stack.enter_context(exposed(metrics_app(settings, found, counted), scrapes))
        if is_alone:
            uvicorn.Server(_config(app)).run(sockets=[listener])
        else:
            _serve_with_workers(settings, found, listener)


def _serve_with_workers(settings: Settings, found: Connections, listener: socket.socket) -> None:
    workers = Workers(
        _config(partial(_worker, settings, found), factory=True, workers=settings.web_concurrency), [listener]
    )
    workers.run()
    if workers.have_failed:
        raise SystemExit(STARTUP_FAILURE)


def _config(app: Any, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,  # the application writes its own
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # the application reads them, from TRUSTED_PROXIES alone
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_worker_healthcheck=HUNG_SECONDS,
        **more,
    )


def _worker(settings: Settings, found: Connections) -> FastAPI:
    """The application in a worker's process, which is told everything by its parent: the database is that one's."""
    logging.configure(settings.log_level)
    threading.Thread(target=_follow_parent, daemon=True).start()
    return create_app(settings, found, is_checked=True)


def _follow_parent() -> None:
    """Stop in an orderly way when the parent process has ended for any reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class Workers(Multiprocess):
    """Uvicorn's supervisor: it hands signals on, waits for all workers, and replaces one that dies.

    SIGHUP has it replace them one by one, each when its successor is ready.
    """

    def keep_subprocess_alive(self) -> None:
        before = list(self.processes)
        for process in before:
            # The worker has its own end. While this one is open, the early death of a worker goes unnoticed.
            process.child_conn.close()
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=True):
            if new is not old:
                _log.warning("worker_replaced", died=old.pid, exit_code=old.exitcode, started=new.pid)

    def terminate_all(self) -> None:
        # Or new connections would wait in its queue for workers that take none any more.
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    @property
    def have_failed(self) -> bool:
        """Whether a worker could not start, which would not go better a second time."""
        return any(process.exitcode == STARTUP_FAILURE for process in self.processes)
