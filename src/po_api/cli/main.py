"""`po-api`: the command line. Commands parse, call and print; what they do is in the services.

Each module here has one group of commands, and is imported when one of them is called.
"""

from typing import ClassVar

import typer

from po_api.cli.lazy import Lazy, LazyGroup


class Commands(LazyGroup):
    """All of them, in the order of the help."""

    modules: ClassVar = {
        "serve": Lazy("po_api.cli.serve", "Serve the API until Ctrl-C."),
        "migrate": Lazy("po_api.cli.migrate", "Bring the database's schema to this version's, or to another revision."),
        "seed-demo": Lazy("po_api.cli.seed_demo", "Make the demo organisation with a user for each role."),
        "openapi": Lazy("po_api.cli.openapi", "Print the OpenAPI document."),
        "backup": Lazy("po_api.cli.backup", "Backups, and getting them back."),
        "idempotency-keys": Lazy("po_api.cli.idempotency_keys", "Idempotency keys."),
        "organisations": Lazy("po_api.cli.organisations", "Organisations."),
        "users": Lazy("po_api.cli.users", "Users."),
        "sessions": Lazy("po_api.cli.sessions", "Sessions."),
    }


app = typer.Typer(
    cls=Commands,
    help="From a purchase order request to an issued purchase order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _commands() -> None:
    """Typer makes a group of an instance that has a callback."""


def main() -> None:
    """Run a command; what the user can mend is one line on stderr, never a traceback."""
    try:
        app()
    except Exception as error:
        from po_api.cli.failures import explanation  # noqa: PLC0415 - imports what no help and no success needs

        line = explanation(error)
        if line is None:
            raise
        typer.echo(f"po-api: {line}", err=True)
        raise SystemExit(1) from None
