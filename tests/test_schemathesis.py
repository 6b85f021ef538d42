"""Responses to generated requests conform to the OpenAPI document: Schemathesis over a real server."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from support.applications import new_app, serving
from support.organisations import Member, TestOrganisation

pytestmark = [pytest.mark.heavy, pytest.mark.exhaustive]

COMMAND = (sys.executable, "-m", "schemathesis.cli", "--config-file", "tests/schemathesis.toml", "run", "--no-color")
ROLES = ("requester", "approver", "buyer", "admin", "auditor", "stranger", "nobody")


@pytest.fixture(scope="module")
def served(urls: tuple[str, str], app: FastAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the application on the tests' database, served by a thread with its own event loop."""
    limits = {f"rate_limit_{kind}": "1000000/minute" for kind in ("per_user", "per_address", "sign_in", "refresh")}
    made = new_app(urls[1], filing_dir=tmp_path_factory.mktemp("filed"), **limits)
    made.openapi()  # Schemathesis waits for ten seconds, in which a busy machine may not make it
    with serving(made) as address:
        yield address


async def _run(project: Path, address: str, member: Member | None, *options: str) -> tuple[int | None, str]:
    headers = () if member is None else ("--header", f"Authorization: Bearer {member.token}")
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        f"{address}/openapi.json",
        *headers,
        *options,
        cwd=project,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def _assert_conforms(app: FastAPI, status: int | None, output: str) -> None:
    operations = sum(len(methods) for methods in app.openapi()["paths"].values())
    assert f"Tested: {operations}\n" in output, output
    assert status == 0, output


@pytest.mark.parametrize("role", ROLES)
async def test_answers_are_as_documented(
    project: Path, app: FastAPI, served: str, organisation: TestOrganisation, stranger: Member, role: str
) -> None:
    await organisation.issued()
    members = {**vars(organisation), "stranger": stranger, "nobody": None}
    status, output = await _run(project, served, members[role], "--phases", "fuzzing", "--max-examples", "2")
    _assert_conforms(app, status, output)


async def test_the_edges_of_every_parameter_are_as_documented(
    project: Path, app: FastAPI, served: str, organisation: TestOrganisation
) -> None:
    await organisation.issued()
    status, output = await _run(project, served, organisation.buyer, "--phases", "examples,coverage")
    _assert_conforms(app, status, output)
