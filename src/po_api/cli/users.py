"""`po-api users`."""

from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.cli.transactions import Email, run, validated
from po_api.core.actor import Actor
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.listeners import all_listeners
from po_api.members.service import MemberService
from po_api.operations.databases import Connections
from po_api.organisations.service import OrganisationService
from po_api.users.schemas import UserCreate
from po_api.users.service import UserService

app = typer.Typer(help="Manage users.", no_args_is_help=True)


@app.command("create")
def create_user(
    email: Email,
    name: Annotated[str, typer.Option(help="Name of the user.")],
    organisation: Annotated[int | None, typer.Option(help="Id of the organisation.")] = None,
    role: Annotated[list[Role] | None, typer.Option(help="Role; may be repeated.")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="Allow the user to list all organisations.")] = False,
) -> None:
    """Create an account, in an organisation with the rights of a member, and print the id."""
    invite = validated(UserCreate, email=email, name=name, roles=role or [Role.REQUESTER])

    async def work(session: AsyncSession, _found: Connections) -> int:
        if organisation is not None:
            await OrganisationService(session).get(organisation)
            await enter_tenant(session, organisation)
        user = await UserService(session).create(
            email=invite.email, name=invite.name, organisation_id=organisation, roles=invite.roles, is_operator=operator
        )
        return user.id

    typer.echo(run(work))


@app.command("list")
def list_users() -> None:
    """List all users of the installation: id, organisation, state, roles, e-mail address, name."""

    async def work(session: AsyncSession, _found: Connections) -> list[str]:
        return [
            f"{user.id}\t{user.organisation_id or '-'}\t{'active' if user.is_active else 'inactive'}"
            f"\t{','.join(user.roles or ['-'])}\t{user.email}\t{user.name}"
            for user in await UserService(session).all()
        ]

    for line in run(work):
        typer.echo(line)


@app.command("deactivate")
def deactivate_user(email: Email) -> None:
    """Deactivate an account: the user cannot sign in, is no active member, and their sessions end for good."""

    async def work(session: AsyncSession, _found: Connections) -> list[str]:
        users = UserService(session)
        user = await users.by_email(email)
        await users.set_active(user, active=False)
        # Read after the account was locked: the user may have joined another one meanwhile.
        organisation_id = user.organisation_id
        if organisation_id is None:
            return []
        await enter_tenant(session, organisation_id)
        members = MemberService(session, Actor.command_line(organisation_id), all_listeners())
        _, warnings = await members.deactivate(user.id, expected=None)
        return [f"{item.detail}: {', '.join(number for _, number in item.porfs)}" for item in warnings]

    for warning in run(work):
        typer.echo(f"warning: {warning}", err=True)


@app.command("activate")
def activate_user(email: Email) -> None:
    """Reactivate an account. Organisations invite the user again."""

    async def work(session: AsyncSession, _found: Connections) -> None:
        users = UserService(session)
        await users.set_active(await users.by_email(email), active=True)

    run(work)
