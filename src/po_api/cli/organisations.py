"""`po-api organisations`."""

from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.cli.transactions import run, validated
from po_api.operations.databases import Connections
from po_api.organisations.schemas import OrganisationCreate
from po_api.organisations.service import OrganisationService

app = typer.Typer(help="Manage organisations.", no_args_is_help=True)


@app.command("create")
def create_organisation(
    name: Annotated[str, typer.Option("--name", help="Name of the organisation.")],
    currency: Annotated[str, typer.Option(help="Base currency, ISO 4217.")] = "EUR",
    timezone: Annotated[str, typer.Option(help="IANA time zone.")] = "UTC",
) -> None:
    """Create an organisation and print its id."""
    values = validated(OrganisationCreate, name=name, currency=currency, timezone=timezone).model_dump()

    async def work(session: AsyncSession, _found: Connections) -> int:
        return (await OrganisationService(session).create(**values)).id

    typer.echo(run(work))
