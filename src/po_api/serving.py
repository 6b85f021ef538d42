"""Serving: in this process, or in several workers that share one socket and are supervised by this process."""

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
from po_api.operations.embedded.supervisor import Supervisor
from po_api.operations.metrics.exposition import exposed, metrics_app
from po_api.operations.metrics.processes import workers_files
from po_api.settings import Settings, SettingsError
from po_api.web.http_protocol import LimitedProtocol, limit_unread

# Less than the 30 seconds after which process managers kill a server by default.
GRACEFUL_SECONDS = 25
# Longer than the minute for which proxies keep idle connections: they could otherwise use one that is being closed.
KEEP_ALIVE_SECONDS = 75
# A worker that does not respond to health checks for this time is replaced. It responds from a thread of its own, once
# its modules are loaded.
HUNG_SECONDS = 30

_log = get_logger(__name__)


def listen(settings: Settings) -> socket.socket:
    """The listening socket, bound before anything is started. Raises SettingsError, such as for a port in use."""
    return _listen("HOST, PORT", settings.host, settings.port)


def listen_to_scrapes(settings: Settings) -> socket.socket | None:
    """The listening socket of `/metrics`; None if METRICS_PORT is not set. Raises SettingsError."""
    if settings.metrics_port is None:
        return None
    return _listen("METRICS_HOST, METRICS_PORT", settings.metrics_host, settings.metrics_port)


def _listen(variables: str, host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        # Python appends the address in brackets to some of the system's reasons.
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise SettingsError(f"{variables}: cannot listen on {host}:{port}: {reason}") from None
    limit_unread(listener)
    return listener


def serve(
    settings: Settings,
    found: Connections,
    listener: socket.socket,
    scrapes: socket.socket | None,
    supervisor: Supervisor | None,
) -> None:
    """Serve until a signal ends it; the caller has checked the schema. `supervisor` is that of an embedded server."""
    app = create_app(settings, found, is_checked=True)
    is_alone = settings.web_concurrency == 1
    with ExitStack() as stack:
        if scrapes is not None:
            counted = REGISTRY if is_alone else stack.enter_context(workers_files())
            stack.enter_context(exposed(metrics_app(settings, found, counted, supervisor), scrapes))
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
        http=LimitedProtocol,
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
    """The application in a worker process, on the database of its parent."""
    logging.configure(settings.log_level)
    threading.Thread(target=_follow_parent, daemon=True).start()
    return create_app(settings, found, is_checked=True)


def _follow_parent() -> None:
    """Stop gracefully when the parent process has ended for any reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class Workers(Multiprocess):
    """Uvicorn's supervisor: it forwards signals, waits for all workers, and replaces a worker that dies.

    On SIGHUP it replaces them one by one, each when its successor is ready.
    """

    def keep_subprocess_alive(self) -> None:
        before = list(self.processes)
        for process in before:
            # The end for the worker, which has its own copy. While this one is open, an early death is not detected.
            process.child_conn.close()
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=True):
            if new is not old:
                _log.warning("worker_replaced", died=old.pid, exit_code=old.exitcode, started=new.pid)

    def terminate_all(self) -> None:
        # Otherwise new connections would wait in its queue for workers that accept no more.
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    @property
    def have_failed(self) -> bool:
        """Whether a worker could not start; another attempt would fail as well."""
        return any(process.exitcode == STARTUP_FAILURE for process in self.processes)
