"""`po-api sessions`."""

from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.cli.transactions import Email, run
from po_api.core.clock import utc_now
from po_api.operations.databases import Connections
from po_api.operations.developer_sessions import DEVELOPER_SESSION_SECONDS, open_session
from po_api.sessions.service import SessionService

app = typer.Typer(help="Manage sessions.", no_args_is_help=True)


@app.command("create")
def create_session(
    email: Email,
    ttl: Annotated[int, typer.Option(min=1, max=365 * 86400, help="Lifetime in seconds.")] = DEVELOPER_SESSION_SECONDS,
) -> None:
    """Create a session and print its access token."""

    async def work(session: AsyncSession, found: Connections) -> str:
        return await open_session(session, email=email, key=found.secret_key, lifetime=timedelta(seconds=ttl))

    typer.echo(run(work))


@app.command("purge")
def purge_sessions(
    days: Annotated[int, typer.Option(min=0, help="Keep sessions that ended within this number of days.")] = 30,
) -> None:
    """Delete ended sessions and print their number."""

    async def work(session: AsyncSession, found: Connections) -> int:
        return await SessionService(session, key=found.secret_key).purge(before=utc_now() - timedelta(days=days))

    typer.echo(run(work))
