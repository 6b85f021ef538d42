"""`po-api filings`."""

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.cli.transactions import run
from po_api.filing.filings import retry_all
from po_api.operations.databases import Connections

app = typer.Typer(help="Manage the filing of documents.", no_args_is_help=True)


@app.callback()
def _filings() -> None:
    """With a callback, Typer treats the instance as a group."""


@app.command("retry")
def retry_filings() -> None:
    """File the documents again that are held or could not be filed, and print their number.

    After a restore, or a repair of the directory or the service account. A document that is filed already is found.
    """

    async def work(session: AsyncSession, _found: Connections) -> int:
        return await retry_all(session)

    typer.echo(run(work))
