"""`po-api audit`; the work is done by operations/audit_chain.py."""

import asyncio
from typing import Annotated

import typer

from po_api.observability import logging
from po_api.operations.audit_chain import AuditTrailDamaged, ChainResult, NotedSeal, verify_chains
from po_api.operations.databases import owner_urls
from po_api.operations.migrations import connect_as_owner
from po_api.settings import SettingsError, load_settings

app = typer.Typer(help="Verify the audit trail.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """With a callback, Typer treats the single command as one of a group."""


@app.command("verify")
def verify_audit_trail(
    organisation: Annotated[
        int | None, typer.Option("--organisation", help="Id of the organisation; without it, all are verified.")
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="NUMBER:SEAL", help="A seal of the organisation that was noted down."),
    ] = None,
) -> None:
    """Compute the seals of all events again, and name the first event that was changed, removed or inserted.

    Prints the newest seal of each organisation, as NUMBER:SEAL. A chain that was computed again as a whole is found
    with --expect only.
    """
    noted = _noted(organisation, expect)
    logging.configure("WARNING")
    with owner_urls(load_settings(), must_exist=True) as (owner_url, _):
        results = asyncio.run(_verify(owner_url, organisation, noted))
    if not results and organisation is not None:
        raise SettingsError(f"--organisation: there is no organisation {organisation}")
    if faults := sum(len(result.faults) for result in results):
        raise AuditTrailDamaged(f"the audit trail was changed: {faults} faults; the first of each chain is named above")


def _noted(organisation: int | None, expect: str | None) -> NotedSeal | None:
    if expect is None:
        return None
    if organisation is None:
        raise SettingsError("--expect: requires --organisation")
    noted = NotedSeal.parse(expect)
    if noted is None:
        raise SettingsError("--expect: expected a number, a colon and a seal of 64 hexadecimal digits")
    return noted


async def _verify(owner_url: str, organisation: int | None, noted: NotedSeal | None) -> list[ChainResult]:
    connection = await connect_as_owner(owner_url)
    results = []
    try:
        async for result in verify_chains(connection, organisation, noted):
            _print(result)
            results.append(result)
    finally:
        await connection.close()
    return results


def _print(result: ChainResult) -> None:
    name = f"organisation {result.organisation_id}"
    for fault in result.faults:
        typer.echo(f"{name}: {fault}")
    if not result.faults:
        waiting = f", {result.waiting} waiting for a number" if result.waiting else ""
        typer.echo(f"{name}: {result.number}:{result.seal}{waiting}")
