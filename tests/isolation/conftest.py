"""The isolation of organisations and roles, with both documented set-ups of database roles.

With two roles, row-level security applies in addition to the conditions of the statements, and would hide that a
condition is missing. With `DATABASE_URL` alone the application is the tables' owner, to whom the policies do not apply:
only the conditions isolate organisations.
"""

import os
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from fastapi import FastAPI

from po_api.settings import Settings
from support.applications import application_on, client_of

# The statements are the same with either, so that one will do for a second server.
_ROLES = ["two-roles"] if os.environ.get("PO_TEST_POSTGRES") == "system" else ["two-roles", "one-role"]
_IS_GIVEN = "DATABASE_TEST_URL" in os.environ
_EXHAUSTIVE = [] if _IS_GIVEN else [pytest.mark.exhaustive]
_THOROUGH = [] if _IS_GIVEN else [pytest.mark.exhaustive, pytest.mark.thorough]
# The roles of members do not depend on those of the database: one of these will do.
_ROLES_OF_MATRIX = ["two-roles", pytest.param("one-role", marks=_THOROUGH)]
_ROLES_OF_PATHS = [pytest.param(role, marks=_EXHAUSTIVE if role == "two-roles" else []) for role in _ROLES]
_ONE_WILL_DO = ["one-role" if _IS_GIVEN else "two-roles"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "urls" in metafunc.fixturenames:
        metafunc.parametrize("urls", _roles_for(metafunc), indirect=True, scope="session")


def _roles_for(metafunc: pytest.Metafunc) -> Sequence[object]:
    if metafunc.definition.get_closest_marker("unentered"):
        return _ONE_WILL_DO
    if metafunc.definition.get_closest_marker("many_paths"):
        return _ROLES_OF_PATHS
    return _ROLES_OF_MATRIX if metafunc.module.__name__.endswith("test_security_matrix") else _ROLES


# All of these are redefined together: one that were left as it is would be made once for tests here and elsewhere.


@pytest.fixture(scope="session")
def urls(request: pytest.FixtureRequest, database_urls: tuple[str, str]) -> tuple[str, str]:
    """The owner's and the application's URL, which are equal with one role."""
    owner, application = database_urls
    if request.param == "one-role":
        return owner, owner
    if owner == application:
        pytest.skip("DATABASE_TEST_URL names one role")
    return owner, application


@pytest.fixture(scope="session")
async def app(urls: tuple[str, str], settings: Settings) -> AsyncIterator[FastAPI]:
    async with application_on(urls, settings) as made:
        yield made


@pytest.fixture(scope="session")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, "127.0.0.1") as made:
        yield made
