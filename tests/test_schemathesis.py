"""Responses to generated requests conform to the OpenAPI document: Schemathesis over a real server."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok

from po_api.core.permissions import Role
from support.applications import new_app, serving
from support.organisations import Member, TestOrganisation, ok, with_new_session

pytestmark = [pytest.mark.heavy, pytest.mark.exhaustive]

CONFIG = Path(__file__).parent / "schemathesis.toml"
COMMAND = (sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", "--no-color")
SEED = 20261122
Operation = APIOperation[Any, Any, Any, Any]
BOUNDS = settings(deadline=None, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck])


@pytest.fixture(scope="module")
def served(urls: tuple[str, str], app: FastAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the application on the tests' database, served by a thread with its own event loop."""
    limits = {f"rate_limit_{kind}": "1000000/minute" for kind in ("per_user", "per_address", "sign_in", "refresh")}
    made = new_app(urls[1], filing_dir=tmp_path_factory.mktemp("filed"), **limits)
    made.openapi()  # Schemathesis waits for ten seconds, in which a busy machine may not make it
    with serving(made) as address:
        yield address


async def test_answers_are_as_documented(
    app: FastAPI, served: str, organisation: TestOrganisation, stranger: Member
) -> None:
    """Each case is generated once, which takes longer than to send it for everybody."""
    await organisation.issued()
    with_all_roles = await organisation.member(*Role)
    callers = [with_all_roles, *(getattr(organisation, role) for role in Role), stranger]
    config = schemathesis.Config.from_path(CONFIG)
    schema = await asyncio.to_thread(schemathesis.openapi.from_url, f"{served}/openapi.json", config=config)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == _operations_of(app.openapi())
    with requests.Session() as session:
        session.trust_env = False  # looking for proxies takes a tenth of the time
        for operation in operations:
            # Some operations end the session, or all of them.
            first, *others = [(await with_new_session(app, caller)).token for caller in callers]
            await asyncio.to_thread(_assert_conforms, operation, first, [*others, None], session)
    for caller in callers:
        await ok((await with_new_session(app, caller)).get("/users/me"))


def _assert_conforms(
    operation: Operation, with_all_roles: str, others: Sequence[str | None], session: requests.Session
) -> None:
    _try(operation, GenerationMode.POSITIVE, 2, others, session)
    with suppress(Unsatisfiable):  # what has no parameters cannot be violated
        _try(operation, GenerationMode.NEGATIVE, 3, [with_all_roles], session)


def _try(
    operation: Operation,
    mode: GenerationMode,
    examples: int,
    tokens: Sequence[str | None],
    session: requests.Session,
) -> None:
    @settings(BOUNDS, max_examples=examples)
    @seed(SEED)
    @given(case=operation.as_strategy(mode))
    def check(case: Case[Any]) -> None:
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            response = case.call(session=session, headers=headers)
            if response.status_code != HTTPStatus.REQUEST_URI_TOO_LONG:  # of any operation, before it is looked for
                case.validate_response(response)

    check()


@pytest.mark.parametrize("mode", ["positive", pytest.param("negative", marks=pytest.mark.thorough)])
async def test_the_edges_of_every_parameter_are_as_documented(
    project: Path, app: FastAPI, served: str, organisation: TestOrganisation, tmp_path: Path, mode: str
) -> None:
    await organisation.issued()
    member = await organisation.member(*Role)
    document = _without_what_ends(app.openapi())
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, str(file), "--url", served, "--phases", "examples,coverage", "--mode", mode),
        *("--header", f"Authorization: Bearer {member.token}"),
        cwd=project,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert f"Tested: {_operations_of(document)}\n" in output, output
    assert process.returncode == 0, output
    await ok(member.get("/users/me"))


def _operations_of(openapi: dict[str, Any]) -> int:
    return sum(len(methods) for methods in openapi["paths"].values())


def _without_what_ends(openapi: dict[str, Any]) -> dict[str, Any]:
    """The document without what would make most of the other requests pointless.

    After the end of its session, the member would only get 401; a key of the example is one of a request that was
    answered before. What counts and exports has the filters of the list beside it.
    """
    document = deepcopy(openapi)
    for path in [*document["paths"]]:
        if path.endswith(("/sessions", "/sessions/current", "/counts", "/export")):
            del document["paths"][path]
    del document["components"]["parameters"]["IdempotencyKey"]
    key = {"$ref": "#/components/parameters/IdempotencyKey"}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["parameters"] = [item for item in operation.get("parameters", ()) if item != key]
    return document
