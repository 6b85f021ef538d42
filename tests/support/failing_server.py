"""The application as `po-api serve` runs it, with a route that fails besides: a function for support/forked.py."""

import socket
import sys

import uvicorn


def failing_server() -> None:
    """Serve the API and `/metrics` on the two ports in sys.argv, with the settings of the environment."""
    from po_api.app import create_app
    from po_api.observability import logging
    from po_api.observability.metrics import REGISTRY
    from po_api.operations.databases import connections
    from po_api.operations.metrics.exposition import exposed, metrics_app
    from po_api.settings import load_settings

    settings = load_settings()
    logging.configure(settings.log_level)
    listener, scrapes = (socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:])
    with connections(settings) as found:
        app = create_app(settings, found)

        @app.get("/fail", include_in_schema=False)
        async def fail(token: str) -> None:
            secret = token
            raise RuntimeError(f"cannot go on with {secret}")

        config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False, proxy_headers=False)
        with exposed(metrics_app(settings, found, REGISTRY), scrapes):
            uvicorn.Server(config).run(sockets=[listener])
