"""`po-api documents`."""

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.cli.transactions import run
from po_api.operations.databases import Connections
from po_api.purchase_orders.renderings import queue_failed

app = typer.Typer(help="Manage the documents of orders.", no_args_is_help=True)


@app.callback()
def _documents() -> None:
    """With a callback, Typer treats the instance as a group."""


@app.command("retry")
def retry_documents() -> None:
    """Render the documents again that could not be rendered, and print their number."""

    async def work(session: AsyncSession, _found: Connections) -> int:
        return await queue_failed(session)

    typer.echo(run(work))
