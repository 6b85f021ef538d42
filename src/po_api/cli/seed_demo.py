"""`po-api seed-demo`."""

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.cli.transactions import run
from po_api.operations import demo
from po_api.operations.databases import Connections

app = typer.Typer()


@app.command("seed-demo")
def seed_demo() -> None:
    """Create the demo organisation with a user for each role."""

    async def work(session: AsyncSession, _found: Connections) -> None:
        await demo.seed(session)

    run(work)
    typer.echo(f"{demo.ORGANISATION}: {', '.join(demo.USERS)}")
