"""`po-api idempotency-keys`."""

from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.cli.transactions import run
from po_api.core.clock import utc_now
from po_api.operations.databases import Connections
from po_api.web import idempotency

app = typer.Typer(help="Manage stored idempotency keys.", no_args_is_help=True)


@app.command("purge")
def purge_idempotency_keys(
    hours: Annotated[int, typer.Option(min=24, help="Keep responses stored within this number of hours.")] = 48,
) -> None:
    """Delete old idempotency keys with their stored responses and print their number."""

    async def work(session: AsyncSession, _found: Connections) -> int:
        return await idempotency.purge(session, before=utc_now() - timedelta(hours=hours))

    typer.echo(run(work))
