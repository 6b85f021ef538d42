"""The security matrix: every operation × no valid token, roles, cross-site cookies, keys with and without scope.

The requests are generated from the OpenAPI document, the expected results are in MATRIX: a new route without its row
fails. The column of the other organisation is in test_tenancy.py.
"""

import base64
from datetime import timedelta

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from po_api.api_keys.domain import new_key
from po_api.api_keys.models import ApiKey
from po_api.core.clock import utc_now
from po_api.core.permissions import Role, Scope
from po_api.sessions import tokens
from po_api.sessions.models import UserSession
from po_api.sessions.tokens import AccessToken
from po_api.users.models import User
from po_api.web.cookies import ACCESS_COOKIE
from po_api.web.openapi import all_routes
from support.applications import SECRET_KEY, new_app
from support.operations import BY_BODY, BY_PATH, BY_QUERY, NAMES_NOTHING, PUBLIC, Json, operations
from support.organisations import PREFIX, Member, new_member, ok, refused
from support.security_matrix import (
    COLUMNS,
    MATRIX,
    RAISERS,
    REQUESTS,
    SHARED,
    USED_UP_CALLERS,
    USED_UP_THINGS,
    Ids,
    Row,
    World,
    new_world,
    outcome,
)

# The pages of the docs, the document that the matrix is made from, and the page for suppliers.
_OUTSIDE_THE_DOCUMENT = {
    "/",
    "/favicon.ico",
    "/docs/openapi.json",
    *("/docs", "/redoc", "/openapi.json"),
    *("/supplier", "/supplier/{name}"),
    *("/docs/assets/{name}", "/docs/errors", "/docs/errors/{code}", "/docs/limits"),
}

# The responses of these operations to callers without access.
PUBLIC_ANSWERS: dict[str, tuple[Json, str]] = {
    "getLiveness": ({}, "yes"),
    "getReadiness": ({}, "yes"),
    "startSignIn": ({}, "404"),
    "startTokenSignIn": ({"json": {"code_challenge": "x" * 43}}, "404"),
    "completeSignIn": ({"params": {"state": "x", "code": "x"}}, "400 invalid_sign_in"),
    "exchangeSignInCode": ({"json": {"code": "x" * 43, "code_verifier": "x" * 43}}, "401 invalid_sign_in_code"),
    "createSession": ({"json": {"id_token": "x.y.z"}}, "404"),
    "refreshSession": ({"json": {"refresh_token": "x" * 43}}, "401 invalid_refresh_token"),
    "getLinkedOrder": ({}, "404"),
    "getLinkedOrderDocument": ({}, "404"),
    "viewLinkedOrder": ({"json": {"name": "Mallory"}}, "404"),
}


@pytest.fixture(scope="module")
async def world(app: FastAPI, client: httpx.AsyncClient) -> World:
    return await new_world(app, client)


def _documented(app: FastAPI) -> set[str]:
    """The operations of the routes that are in the document: making that takes a thousand times as long."""
    return {
        str(getattr(context, "operation_id", None))
        for context in iter_route_contexts(all_routes(app))
        if getattr(context, "include_in_schema", False)
    }


def _unlisted(app: FastAPI) -> set[str]:
    """Operations without a row, rows without an operation."""
    return _documented(app) ^ (MATRIX.keys() | PUBLIC_ANSWERS.keys())


async def test_every_operation_has_its_row(app: FastAPI) -> None:
    assert {operation["operationId"] for _, _, operation in operations(app)} == _documented(app)
    assert _unlisted(app) == set()
    assert PUBLIC_ANSWERS.keys() == PUBLIC
    assert not MATRIX.keys() & PUBLIC


async def test_every_operation_has_its_row_in_the_other_organisations_column(app: FastAPI) -> None:
    assert BY_PATH.keys() | BY_BODY | BY_QUERY | NAMES_NOTHING == MATRIX.keys() | PUBLIC


async def test_a_new_route_is_noticed_whether_it_is_documented_or_not() -> None:
    app = new_app("postgresql://")

    async def new() -> None: ...

    app.add_api_route(f"{PREFIX}/new", new, operation_id="getNew", summary="New", status_code=204)
    app.add_api_route(f"{PREFIX}/hidden", new, include_in_schema=False)
    assert _unlisted(app) == {"getNew"}
    assert _undocumented(app) == {*_OUTSIDE_THE_DOCUMENT, f"{PREFIX}/hidden"}


def _undocumented(app: FastAPI) -> set[str]:
    """The paths of routes and mounted applications that are not in the document."""
    return {
        str(context.path)
        for context in iter_route_contexts(all_routes(app))
        if not getattr(context, "include_in_schema", False)
    }


async def test_no_route_is_kept_from_the_document_but_its_own_pages(app: FastAPI) -> None:
    assert _undocumented(app) == _OUTSIDE_THE_DOCUMENT


async def test_the_document_names_the_scope_of_an_operation(app: FastAPI) -> None:
    said = {operation["operationId"]: operation.get("x-key-scope") for _, _, operation in operations(app)}
    assert said == {name: row.scope for name, row in MATRIX.items()} | dict.fromkeys(PUBLIC)
    assert {row.scope for row in MATRIX.values()} == {*Scope, None}


# No valid token


async def _session_id(member: Member) -> int:
    session_id: int = (await ok(member.get("/sessions/current"))).json()["id"]
    return session_id


def _signed(user_id: int, session_id: int, *, key: str = SECRET_KEY, age: timedelta = timedelta()) -> str:
    issued_at, lifetime = utc_now() - age, timedelta(minutes=15)
    return tokens.sign(AccessToken(user_id, session_id), key=key, issued_at=issued_at, lifetime=lifetime)


async def _ended_sessions(world: World) -> dict[str, str]:
    """Tokens of sessions that ended in one way each, and are valid otherwise."""
    revoked, ended, idle = [await world.again(world.all_roles) for _ in range(3)]
    ids = [await _session_id(member) for member in (ended, idle)]
    await ok(revoked.delete("/sessions/current"), 204)
    now = utc_now()
    await world.alter(UserSession, UserSession.id, ids[0], expires_at=now)
    await world.alter(UserSession, UserSession.id, ids[1], last_seen_at=now - timedelta(days=8))
    return {"a revoked session": revoked.token, "a session that ended": ended.token, "an idle session": idle.token}


async def _wrong_keys(world: World) -> dict[str, str]:
    revoked, expired = [await world.new_key(world.all_roles, *Scope) for _ in range(2)]
    revoked_id, expired_id = [int(member.token.split("_")[1]) for member in (revoked, expired)]
    await ok(world.all_roles.delete(f"/api-keys/{revoked_id}"), 204)
    await world.alter(ApiKey, ApiKey.id, expired_id, expires_at=utc_now())
    live_id = int((await world.key(*Scope)).token.split("_")[1])
    return {
        "a revoked key": revoked.token,
        "an expired key": expired.token,
        "a key that was never given out": new_key(2**40),
        "a live key's id with another secret": new_key(live_id),
    }


async def _deactivated(world: World) -> dict[str, str]:
    """A deactivated user with sessions and keys: deactivation through the API would end them."""
    member = await new_member(world.app, world.organisation.client, world.organisation.organisation_id, list(Role))
    key = await world.new_key(member, *Scope)
    await world.alter(User, User.id, member.user_id, is_active=False)
    return {"a deactivated user": member.token, "a deactivated user's key": key.token}


@pytest.fixture(scope="module")
async def wrong(world: World) -> dict[str, str | None]:
    """Authorization headers that do not authenticate."""
    live = await _session_id(world.all_roles)
    header, claims, signature = world.all_roles.token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    bearer = {
        "nonsense": "nonsense",
        "an expired token": _signed(world.all_roles.user_id, live, age=timedelta(hours=1)),
        "a token of tomorrow": _signed(world.all_roles.user_id, live, age=timedelta(days=-1)),
        "a token signed with another key": _signed(world.all_roles.user_id, live, key="x" * 32),
        "a token without signature": f"{none}.{claims}.",
        "a token with the signature of another": f"{header}.{claims}.{world.other.token.split('.')[2]}",
        "a token with a changed header": f"{none}.{claims}.{signature}",
        "another user's session": _signed(world.all_roles.user_id, await _session_id(world.other)),
        "a session that never was": _signed(world.all_roles.user_id, 2**40),
        "a refresh token": tokens.new_secret(),
        **await _ended_sessions(world),
        **await _deactivated(world),
        **await _wrong_keys(world),
    }
    return {
        "nothing": None,
        "an empty header": "",
        "a name and a password": f"Basic {base64.b64encode(b'admin:admin').decode()}",
        "a token by another scheme": f"Token {world.all_roles.token}",
        **{name: f"Bearer {token}" for name, token in bearer.items()},
    }


@pytest.mark.unentered
@pytest.mark.parametrize("name", MATRIX)
async def test_without_a_valid_token_nothing_is_done(
    world: World, wrong: dict[str, str | None], client: httpx.AsyncClient, name: str
) -> None:
    """Each operation without a header and with a quarter of the invalid ones, each of these with a quarter of them."""
    tried = ["nothing", *[*wrong][[*MATRIX].index(name) % 4 :: 4]]
    await _are_refused(world, {label: wrong[label] for label in tried}, client, name)


@pytest.mark.unentered
@pytest.mark.exhaustive
@pytest.mark.thorough
async def test_no_operation_is_done_with_any_invalid_token(
    world: World, wrong: dict[str, str | None], client: httpx.AsyncClient
) -> None:
    for name in MATRIX:
        await _are_refused(world, wrong, client, name)


async def _are_refused(world: World, wrong: dict[str, str | None], client: httpx.AsyncClient, name: str) -> None:
    method, path, options = world.request(name, await world.possible(name))
    options["headers"] = {"If-Match": options.pop("etag")}
    seen = {}
    for label, value in wrong.items():
        headers = options["headers"] | ({} if value is None else {"Authorization": value})
        response = await client.request(method, f"{PREFIX}{path}", **options | {"headers": headers})
        seen[label] = (outcome(response), response.headers.get("WWW-Authenticate"))
    assert seen == dict.fromkeys(wrong, ("401 unauthenticated", "Bearer")), name


@pytest.mark.unentered
@pytest.mark.parametrize("name", MATRIX)
async def test_cookies_from_another_site_open_nothing(world: World, client: httpx.AsyncClient, name: str) -> None:
    method, path, options = world.request(name, await world.possible(name))
    cookies = {"If-Match": options.pop("etag"), "Cookie": f"{ACCESS_COOKIE}={world.all_roles.token}"}
    forged: list[dict[str, str]] = [{"Sec-Fetch-Site": "cross-site", "X-CSRF": "1"}]
    if method != "GET":
        forged += [{}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "https://evil.example", "X-CSRF": "1"}]
    for headers in forged:
        request = client.request(method, f"{PREFIX}{path}", headers=cookies | headers, **options)
        await refused(request, 403, "cross_site_request")


# Each role


def _owners(world: World, row: Row, column: str, caller: Member) -> list[Member]:
    """The owners of the entities that are tried: the caller, if they can own any, and another member."""
    if row.on in SHARED:
        return [world.other]
    return [world.other] if row.on in REQUESTS and column not in RAISERS else [caller, world.other]


@pytest.mark.parametrize("name", MATRIX)
async def test_each_role_may_perform_its_operations_of_the_matrix(world: World, name: str) -> None:
    row, uses_up = MATRIX[name], name in USED_UP_THINGS
    # By owner, what the operation has been refused on: it is as it was.
    left: dict[int, Ids] = {}
    seen = {}
    for column in COLUMNS:
        caller = await world.newcomer(column) if name in USED_UP_CALLERS else world.callers[column]
        outcomes: dict[str, None] = {}
        for owner in _owners(world, row, column, caller):
            ids = left.pop(owner.user_id, None) or await world.thing(row.on, owner, fresh=uses_up)
            found = outcome(await world.ask(caller, name, ids))
            if uses_up and found != "yes":
                left[owner.user_id] = ids
            outcomes[found] = None
        seen[column] = "/".join(outcomes)
    assert seen == row.cells


# Keys


@pytest.mark.parametrize("name", [name for name, row in MATRIX.items() if row.scope is not None])
async def test_a_key_needs_the_scope_and_no_other(world: World, name: str) -> None:
    scope = Scope(str(MATRIX[name].scope))
    without = await world.key(*(other for other in Scope if other is not scope))
    await refused(world.ask(without, name, await world.possible(name)), 403, "missing_scope")
    response = await world.ask(await world.key(scope), name, await world.possible(name))
    assert outcome(response) == ("409" if name == "createOrganisation" else "yes"), response.text


@pytest.mark.unentered
@pytest.mark.parametrize("name", [name for name, row in MATRIX.items() if row.scope is None])
async def test_operations_on_sessions_and_keys_accept_no_keys(world: World, name: str) -> None:
    key = await world.key(*Scope)
    await refused(world.ask(key, name, await world.possible(name)), 403, "key_not_accepted")


# What is done with a key as with a session, on things that any caller may name.
_BY_KEY = [
    name for name, row in MATRIX.items() if row.scope is not None and row.on in SHARED and name not in USED_UP_CALLERS
]


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_key_opens_no_more_than_its_users_roles(world: World, owner: asyncpg.Connection, column: str) -> None:
    """A key with all scopes may do the same as a session: a third of the operations with each role."""
    await _opens_the_same(world, owner, column, _BY_KEY[[*COLUMNS].index(column) % 3 :: 3])


@pytest.mark.exhaustive
@pytest.mark.parametrize("column", COLUMNS)
async def test_a_key_opens_all_that_its_users_roles_open(world: World, owner: asyncpg.Connection, column: str) -> None:
    await _opens_the_same(world, owner, column, _BY_KEY)


async def _opens_the_same(world: World, owner: asyncpg.Connection, column: str, names: list[str]) -> None:
    # As autovacuum would, which these servers do not have: a requester's orders are looked for among hundreds.
    await owner.execute("ANALYZE porfs, porf_lines, purchase_orders, purchase_order_lines, allocations")
    member = await world.newcomer(column)
    key = await world.new_key(member, *Scope)
    seen = {}
    for name in names:
        thing = await world.thing(MATRIX[name].on, world.other, fresh=name in USED_UP_THINGS)
        seen[name] = outcome(await world.ask(key, name, thing))
    assert seen == {name: MATRIX[name].cells[column] for name in names}


# Public operations


@pytest.mark.unentered
@pytest.mark.parametrize("name", PUBLIC_ANSWERS)
async def test_a_token_makes_no_difference_where_none_is_needed(
    world: World, wrong: dict[str, str | None], client: httpx.AsyncClient, name: str
) -> None:
    options, expected = PUBLIC_ANSWERS[name]
    route = world.routes[name]
    tokens_sent = {
        **wrong,
        "a session": f"Bearer {world.all_roles.token}",
        "a key": f"Bearer {(await world.key(*Scope)).token}",
    }
    seen = {}
    for label, value in tokens_sent.items():
        headers = {} if value is None else {"Authorization": value}
        seen[label] = outcome(await client.request(route.method, route.path, headers=headers, **options))
    assert seen == dict.fromkeys(tokens_sent, expected)
