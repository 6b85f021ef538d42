"""Shared by the commands that work on the configured database: transactions and validated options."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.api_keys import models as api_keys
from po_api.observability import logging
from po_api.operations.databases import Connections, connections, transaction
from po_api.sessions import models as sessions
from po_api.settings import SettingsError, load_settings

# Organisations and users have relationships to these, so they must be imported; `tables` would import all others, too.
RELATED = (api_keys.ApiKey, sessions.UserSession)

T = TypeVar("T")

Email = Annotated[str, typer.Option("--email", help="The user's e-mail address.")]


def run(work: Callable[[AsyncSession, Connections], Awaitable[T]]) -> T:
    """Do `work` in one transaction on the configured database. Raises SettingsError if it does not exist."""
    settings = load_settings()
    logging.configure("WARNING")

    async def run_on(found: Connections) -> T:
        async with transaction(found.app_url, settings) as session:
            return await work(session, found)

    with connections(settings, must_exist=True) as found:
        return asyncio.run(run_on(found))


def validated(schema: type[Any], **values: Any) -> Any:
    """The values validated as in the API. Raises SettingsError with the name of the first invalid option."""
    try:
        return schema.model_validate(values)
    except ValueError as error:
        first = error.errors()[0]  # type: ignore[attr-defined]
        raise SettingsError(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
