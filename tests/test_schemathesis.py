"""Responses to generated requests conform to the OpenAPI document: Schemathesis over a real server."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import ignored_auth
from schemathesis.core.result import Ok

from po_api.core.permissions import Role
from support.applications import new_app, serving
from support.organisations import Member, TestOrganisation, ok, with_new_session

pytestmark = [pytest.mark.heavy, pytest.mark.exhaustive]

CONFIG = Path(__file__).parent / "schemathesis.toml"
COMMAND = (sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", "--no-color")
SEED = 20261122
Operation = APIOperation[Any, Any, Any, Any]
_HAVE_SESSIONS = """
    SELECT user_id FROM sessions s JOIN users u ON u.id = user_id AND u.credentials_version = s.credentials_version
    WHERE user_id = ANY($1) AND revoked_at IS NULL AND is_active
"""
BOUNDS = settings(deadline=None, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck])


@dataclass(frozen=True)
class Served:
    address: str
    document: dict[str, Any]


@pytest.fixture(scope="module")
def served(urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The application on the tests' database, served by a thread with its own event loop."""
    limits = {f"rate_limit_{kind}": "1000000/minute" for kind in ("per_user", "per_address", "sign_in", "refresh")}
    made = new_app(urls[1], filing_dir=tmp_path_factory.mktemp("filed"), **limits)
    document = made.openapi()  # Schemathesis waits for ten seconds, in which a busy machine may not make it
    with serving(made) as address:
        yield Served(address, document)


@pytest.mark.parametrize(("valid", "invalid"), [(1, 2), pytest.param(2, 3, marks=pytest.mark.thorough)])
async def test_answers_are_as_documented(
    app: FastAPI,
    served: Served,
    organisation: TestOrganisation,
    stranger: Member,
    owner: asyncpg.Connection,
    valid: int,
    invalid: int,
) -> None:
    """Each case is generated once, which takes longer than to send it for everybody."""
    await organisation.issued()
    with_all_roles = await organisation.member(*Role)
    callers = [with_all_roles, *(getattr(organisation, role) for role in Role), stranger]
    config = schemathesis.Config.from_path(CONFIG)
    schema = await asyncio.to_thread(schemathesis.openapi.from_url, f"{served.address}/openapi.json", config=config)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == _operations_of(served.document)
    with requests.Session() as session:
        session.trust_env = False  # looking for proxies takes a tenth of the time
        for operation in operations:
            callers = await _signed_in(app, owner, callers)
            first, *others = [caller.token for caller in callers]
            sender = Sender(operation, session)
            await asyncio.to_thread(sender.send, GenerationMode.POSITIVE, valid, [*others, None])
            with suppress(Unsatisfiable):  # what has no parameters cannot be violated
                await asyncio.to_thread(sender.send, GenerationMode.NEGATIVE, invalid, [first])
    for caller in await _signed_in(app, owner, callers):
        await ok(caller.get("/users/me"))


async def _signed_in(app: FastAPI, owner: asyncpg.Connection, callers: Sequence[Member]) -> list[Member]:
    """The callers, signed in again if their session has ended: some operations do that. Nobody has two sessions."""
    rows = await owner.fetch(_HAVE_SESSIONS, [caller.user_id for caller in callers])
    live = {row["user_id"] for row in rows}
    return [caller if caller.user_id in live else await with_new_session(app, caller) for caller in callers]


class Sender:
    """Sends the generated cases of one operation.

    Schemathesis asserts of each accepted request that it would be refused without credentials, and with two kinds of
    wrong ones, on connections of their own. That is a property of the operation, so once is enough.
    """

    def __init__(self, operation: Operation, session: requests.Session) -> None:
        self._operation, self._session = operation, session
        self._has_refused = False

    def send(self, mode: GenerationMode, examples: int, tokens: Sequence[str | None]) -> None:
        """So many generated cases, each with each of the tokens; raises an error if an answer is not as documented."""

        @settings(BOUNDS, max_examples=examples)
        @seed(SEED)
        @given(case=self._operation.as_strategy(mode))
        def check(case: Case[Any]) -> None:
            for token in tokens:
                self._send(case, token)

        check()

    def _send(self, case: Case[Any], token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = case.call(session=self._session, headers=headers)
        if response.status_code == HTTPStatus.REQUEST_URI_TOO_LONG:  # of any operation, before it is looked for
            return
        # Without credentials, an accepted request is a fault as it is.
        is_known = self._has_refused and token is not None
        case.validate_response(response, excluded_checks=[ignored_auth] if is_known else None)
        self._has_refused |= token is not None and 200 <= response.status_code < 300


@pytest.mark.parametrize("mode", ["positive", pytest.param("negative", marks=pytest.mark.thorough)])
async def test_the_edges_of_every_parameter_are_as_documented(
    project: Path, served: Served, organisation: TestOrganisation, tmp_path: Path, mode: str
) -> None:
    await organisation.issued()
    member = await organisation.member(*Role)
    document = _without_what_ends(served.document)
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, str(file), "--url", served.address, "--phases", "examples,coverage", "--mode", mode),
        *("--header", f"Authorization: Bearer {member.token}"),
        cwd=project,
        # Nothing of proxies, which would be looked for in all variables at every request.
        env={"PATH": os.defpath, "NO_PROXY": "*"},
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
