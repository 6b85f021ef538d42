"""`po-api`: the command line. Commands parse, call and print; the work is done by the services.

Each module in this package has one group of commands and is imported when one of them is called.
"""

from typing import ClassVar

import typer

from po_api.cli.lazy import Lazy, LazyGroup


class Commands(LazyGroup):
    """All commands, in the order of the help."""

    modules: ClassVar = {
        "serve": Lazy("po_api.cli.serve", "Serve the API until interrupted (Ctrl-C, SIGTERM)."),
        "worker": Lazy("po_api.cli.worker", "Do the work that is due, until interrupted (Ctrl-C, SIGTERM)."),
        "migrate": Lazy(
            "po_api.cli.migrate", "Migrate the database schema to the revision of this version, or to another revision."
        ),
        "seed-demo": Lazy("po_api.cli.seed_demo", "Create the demo organisation with a user for each role."),
        "openapi": Lazy("po_api.cli.openapi", "Print the OpenAPI document."),
        "audit": Lazy("po_api.cli.audit", "Verify the audit trail."),
        "backup": Lazy("po_api.cli.backup", "Create, verify and restore backups."),
        "documents": Lazy("po_api.cli.documents", "Manage the documents of orders."),
        "filings": Lazy("po_api.cli.filings", "Manage the filing of documents."),
        "idempotency-keys": Lazy("po_api.cli.idempotency_keys", "Manage stored idempotency keys."),
        "organisations": Lazy("po_api.cli.organisations", "Manage organisations."),
        "users": Lazy("po_api.cli.users", "Manage users."),
        "sessions": Lazy("po_api.cli.sessions", "Manage sessions."),
    }


app = typer.Typer(
    cls=Commands,
    help="Serve and operate the po-api purchase order API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _commands() -> None:
    """With a callback, Typer treats the instance as a group."""


def main() -> None:
    """Run a command; an error that the user can correct is printed as one line on stderr, without a traceback."""
    try:
        app()
    except Exception as error:
        from po_api.cli.failures import explanation  # noqa: PLC0415 - slow to import, and only needed for errors

        line = explanation(error)
        if line is None:
            raise
        typer.echo(f"po-api: {line}", err=True)
        raise SystemExit(1) from None
