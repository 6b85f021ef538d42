"""`po-api organisations`."""

from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.cli.transactions import run, validated
from po_api.core.actor import Actor
from po_api.db.database import enter_tenant
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


@app.command("allow-mail")
def allow_mail(
    organisation_id: Annotated[int, typer.Argument(help="Id of the organisation.")],
    per_day: Annotated[int, typer.Option("--per-day", min=0, max=1_000_000, help="Mails in a day; 0 forbids all.")],
) -> None:
    """Let an organisation send orders to suppliers by mail, at most so many in a day (UTC).

    Anybody with an account may found an organisation: without this, any of them could send mail in your name.
    """

    async def work(session: AsyncSession, _found: Connections) -> None:
        await enter_tenant(session, organisation_id)
        actor = Actor.command_line(organisation_id)
        await OrganisationService(session).allow_mail(actor, per_day=per_day or None)

    run(work)
