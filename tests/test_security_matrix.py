"""Who may use what: every operation × no valid token, each role, another site's cookies, keys with and without scope.

The requests are made from the OpenAPI document, what comes of them is in MATRIX: a new route without its row fails. The
other organisation's column is test_tenancy.py.
"""

import base64
import itertools
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import update
from sqlalchemy.orm import InstrumentedAttribute

from po_api.api_keys.domain import new_key
from po_api.api_keys.models import ApiKey
from po_api.core.clock import utc_now
from po_api.core.permissions import Role, Scope
from po_api.sessions import tokens
from po_api.sessions.models import UserSession
from po_api.sessions.service import SessionService
from po_api.sessions.tokens import AccessToken
from po_api.users.models import User
from po_api.users.service import UserService
from po_api.web.cookies import ACCESS_COOKIE
from po_api.web.openapi import all_routes
from support.applications import SECRET_KEY, client_of, new_app
from support.organisations import PREFIX, PUBLIC, Cast, Member, created, new_cast, new_member, ok, operations, refused
from test_tenancy import BY_BODY, BY_PATH, BY_QUERY, NAMES_NOTHING

Json = dict[str, Any]
Ids = dict[str, int]

# Members with exactly this role. Strangers belong to no organisation, nor do operators, who run the installation.
COLUMNS = ("requester", "approver", "buyer", "admin", "auditor", "stranger", "operator")

# What each operation is tried on, the scope that it takes of a key, and what comes of it: with the caller's own thing
# and, after the slash, with another member's, where that makes a difference.
#
#   yes  it is done                    no   403 missing_role     org  403 no_organisation
#   404  as if there were no such one  req  403 not_requester    ops  403 operators_only    409  already_member
_MATRIX = """
operation                    on       scope                 requester approver buyer   admin   auditor stranger operator

listSessions                 -        -                     yes       yes      yes     yes     yes     yes      yes
revokeAllSessions            -        -                     yes       yes      yes     yes     yes     yes      yes
getCurrentSession            -        -                     yes       yes      yes     yes     yes     yes      yes
revokeCurrentSession         -        -                     yes       yes      yes     yes     yes     yes      yes
revokeSession                session  -                     yes/404   yes/404  yes/404 yes/404 yes/404 yes/404  yes/404
createApiKey                 -        -                     yes       yes      yes     yes     yes     yes      yes
listApiKeys                  -        -                     yes       yes      yes     yes     yes     yes      yes
getApiKey                    key      -                     yes/404   yes/404  yes/404 yes     yes/404 yes/404  yes/404
revokeApiKey                 key      -                     yes/404   yes/404  yes/404 yes     yes/404 yes/404  yes/404
rotateApiKey                 key      -                     yes/404   yes/404  yes/404 yes/404 yes/404 yes/404  yes/404

getMe                        -        users:read            yes       yes      yes     yes     yes     yes      yes
listUsers                    -        users:read            yes       yes      yes     yes     yes     org      org
inviteUser                   -        users:write           no        no       no      yes     no      org      org
getUser                      user     users:read            yes       yes      yes     yes     yes     org      org
updateUser                   user     users:write           yes/no    yes/no   yes/no  yes     yes/no  org      org
deactivateUser               user     users:write           no        no       no      yes     no      org      org
activateUser                 user     users:write           no        no       no      yes     no      org      org

createOrganisation           -        organisations:write   409       409      409     409     409     yes      yes
listOrganisations            -        organisations:read    ops       ops      ops     ops     ops     ops      yes
getCurrentOrganisation       -        organisations:read    yes       yes      yes     yes     yes     org      org
updateCurrentOrganisation    -        organisations:write   no        no       no      yes     no      org      org
getOrganisation              company  organisations:read    yes       yes      yes     yes     yes     404      yes

listSuppliers                -        suppliers:read        yes       yes      yes     yes     yes     org      org
createSupplier               -        suppliers:write       no        no       yes     yes     no      org      org
getSupplier                  supplier suppliers:read        yes       yes      yes     yes     yes     org      org
updateSupplier               supplier suppliers:write       no        no       yes     yes     no      org      org
deactivateSupplier           supplier suppliers:write       no        no       yes     yes     no      org      org
activateSupplier             supplier suppliers:write       no        no       yes     yes     no      org      org

listPorfs                    -        porfs:read            yes       yes      yes     yes     yes     org      org
createPorf                   -        porfs:write           yes       no       yes     yes     no      org      org
importPorf                   -        porfs:write           yes       no       yes     yes     no      org      org
getPorfImportTemplate        -        porfs:read            yes       yes      yes     yes     yes     org      org
getPorf                      approved porfs:read            yes/404   yes      yes     yes     yes     org      org
exportPorf                   approved porfs:read            yes/404   yes      yes     yes     yes     org      org
listPorfLines                approved porfs:read            yes/404   yes      yes     yes     yes     org      org
getPorfLine                  approved porfs:read            yes/404   yes      yes     yes     yes     org      org
listPorfHistory              approved porfs:read            yes/404   yes      yes     yes     yes     org      org
listPorfComments             approved porfs:read            yes/404   yes      yes     yes     yes     org      org
addPorfComment               approved porfs:write           yes/404   yes      yes     yes     no      org      org
copyPorf                     approved porfs:write           yes/404   no       yes     yes     no      org      org
updatePorf                   draft    porfs:write           yes/404   404      yes/req yes     req     org      org
addPorfLine                  draft    porfs:write           yes/404   404      yes/req yes     req     org      org
updatePorfLine               draft    porfs:write           yes/404   404      yes/req yes     req     org      org
deletePorfLine               draft    porfs:write           yes/404   404      yes/req yes     req     org      org
deletePorf                   draft    porfs:write           yes/404   404      yes/req yes     req     org      org
submitPorf                   draft    porfs:write           yes/404   404      yes/req yes     req     org      org
recallPorf                   pending  porfs:write           yes/404   req      yes/req yes/req req     org      org
returnPorf                   pending  porfs:approve         no/404    yes      no      no      no      org      org
approvePorf                  pending  porfs:approve         no/404    yes      no      no      no      org      org
rejectPorf                   pending  porfs:approve         no/404    yes      no      no      no      org      org
revisePorf                   rejected porfs:write           yes/404   req      yes/req yes/req req     org      org
cancelPorf                   pending  porfs:write           yes/404   no       yes     yes     no      org      org
reopenPorf                   approved porfs:write           no/404    no       yes     yes     no      org      org
closePorf                    approved porfs:write           no/404    no       yes     yes     no      org      org
reassignPorf                 approved porfs:write           no/404    no       no      yes     no      org      org

convertPorf                  approved purchase_orders:write no        no       yes     yes     no      org      org
createPurchaseOrder          approved purchase_orders:write no        no       yes     yes     no      org      org
listPurchaseOrders           -        purchase_orders:read  yes       yes      yes     yes     yes     org      org
getPurchaseOrder             ordered  purchase_orders:read  yes/404   yes      yes     yes     yes     org      org
updatePurchaseOrder          ordered  purchase_orders:write no/404    no       yes     yes     no      org      org
issuePurchaseOrder           ordered  purchase_orders:write no/404    no       yes     yes     no      org      org
cancelPurchaseOrder          ordered  purchase_orders:write no/404    no       yes     yes     no      org      org
closePurchaseOrder           issued   purchase_orders:write no/404    no       yes     yes     no      org      org
getPurchaseOrderDocument     issued   purchase_orders:read  yes/404   yes      yes     yes     yes     org      org

getPorfStateMachine          -        porfs:read            yes       yes      yes     yes     yes     yes      yes
getPurchaseOrderStateMachine -        porfs:read            yes       yes      yes     yes     yes     yes      yes
"""

_OUTCOMES = {
    (403, "missing_role"): "no",
    (403, "not_requester"): "req",
    (403, "no_organisation"): "org",
    (403, "operators_only"): "ops",
    (409, "already_member"): "409",
}


@dataclass(frozen=True)
class Row:
    """One row of the matrix; `scope` None takes no keys."""

    on: str
    scope: str | None
    cells: dict[str, str]


def _parsed(text: str) -> dict[str, Row]:
    head, *lines = [line.split() for line in text.splitlines() if line]
    assert head == ["operation", "on", "scope", *COLUMNS]
    return {
        name: Row(on, None if scope == "-" else scope, dict(zip(COLUMNS, cells, strict=True)))
        for name, on, scope, *cells in lines
    }


MATRIX = _parsed(_MATRIX)

# Whoever has used these is somebody else afterwards, or nobody.
_USED_UP_CALLERS = {"revokeAllSessions", "revokeCurrentSession", "createOrganisation"}
# What these were used on is gone.
_USED_UP_THINGS = {"revokeSession", "revokeApiKey", "deletePorf", "deletePorfLine"}
# What only some can have of their own: others raise no requests.
_REQUESTS = {"draft", "pending", "rejected", "approved", "ordered", "issued"}
_RAISERS = {"requester", "buyer", "admin"}
# What is the organisation's and nobody's own.
_SHARED = {"-", "company", "supplier"}

# The pages of the docs, and the document that the matrix is made from.
_OUTSIDE_THE_DOCUMENT = {
    *("/docs", "/redoc", "/openapi.json"),
    *("/docs/assets/{name}", "/docs/errors", "/docs/errors/{code}", "/docs/limits"),
}

# What these answer to whoever has no business with them.
PUBLIC_ANSWERS: dict[str, tuple[Json, str]] = {
    "getLiveness": ({}, "yes"),
    "getReadiness": ({}, "yes"),
    "startSignIn": ({"params": {"code_challenge": "x" * 43}}, "404"),
    "completeSignIn": ({"params": {"state": "x", "code": "x"}}, "400 invalid_sign_in"),
    "exchangeSignInCode": ({"json": {"code": "x" * 43, "code_verifier": "x" * 43}}, "401 invalid_sign_in_code"),
    "createSession": ({"json": {"id_token": "x.y.z"}}, "404"),
    "refreshSession": ({"json": {"refresh_token": "x" * 43}}, "401 invalid_refresh_token"),
}


@dataclass(frozen=True)
class Route:
    """How an operation is asked for."""

    method: str
    path: str
    takes_dry_run: bool


def routes_of(app: FastAPI) -> dict[str, Route]:
    return {
        operation["operationId"]: Route(
            method, path, any(item["name"] == "dry_run" for item in operation["parameters"])
        )
        for method, path, operation in operations(app)
    }


@dataclass
class World:
    """An organisation in which every operation is possible; things are made when they are first asked for.

    `everyone` has all roles and is an operator, too: what they are refused is refused for another reason. `other` is
    the member whom the other members' things belong to.
    """

    cast: Cast
    routes: dict[str, Route]
    callers: dict[str, Member]
    everyone: Member
    other: Member
    _things: dict[tuple[str, int], Ids] = field(default_factory=dict)
    _keys: dict[frozenset[Scope], Member] = field(default_factory=dict)
    _serial: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def app(self) -> FastAPI:
        return self.cast.company.app

    async def newcomer(self, column: str) -> Member:
        """Another one like the caller of this column."""
        company = self.cast.company
        if column in {"stranger", "operator"}:
            return await new_member(self.app, company.client, None, [], is_operator=column == "operator")
        return await company.member(Role(column))

    async def again(self, member: Member) -> Member:
        """The member, in another session."""
        async with self.app.state.database.sessions.begin() as session:
            user = await UserService(session).get(member.user_id)
            token = await SessionService(session, key=SECRET_KEY).open(user, lifetime=timedelta(hours=1))
        return replace(member, token=token)

    async def key(self, *scopes: Scope) -> Member:
        """Everyone, by a key with these scopes."""
        wanted = frozenset(scopes)
        if wanted not in self._keys:
            self._keys[wanted] = await self.new_key(self.everyone, *scopes)
        return self._keys[wanted]

    async def new_key(self, owner: Member, *scopes: Scope) -> Member:
        body = {"name": "Script", "scopes": list(scopes)}
        return replace(owner, token=(await created(owner.post("/api-keys", json=body))).json()["key"])

    async def thing(self, on: str, owner: Member, *, fresh: bool = False) -> Ids:
        """What names the owner's thing of this kind in a path."""
        if fresh:
            return await self._made(on, owner)
        if (on, owner.user_id) not in self._things:
            self._things[on, owner.user_id] = await self._made(on, owner)
        return self._things[on, owner.user_id]

    async def alter(self, entity: type[Any], column: InstrumentedAttribute[int], row_id: int, **values: Any) -> None:
        """Change a row below the API: of what that would do together, one thing alone."""
        async with self.app.state.database.sessions.begin() as session:
            await session.execute(update(entity).where(column == row_id).values(**values))

    async def possible(self, name: str) -> Ids:
        """What everyone can do this with: what is their own, since it is theirs, but for decisions on requests."""
        row = MATRIX[name]
        owner = self.other if row.on in _SHARED or row.scope == Scope.PORFS_APPROVE else self.everyone
        return await self.thing(row.on, owner, fresh=name in _USED_UP_THINGS)

    async def _made(self, on: str, owner: Member) -> Ids:
        theirs = replace(self.cast, requester=owner)
        match on:
            case "-":
                return {}
            case "company":
                return {"organisation_id": self.cast.company.organisation_id}
            case "supplier":
                return {"supplier_id": self.cast.supplier_id}
            case "user":
                return {"user_id": owner.user_id}
            case "session":
                shown = await ok((await self.again(owner)).get("/sessions/current"))
                return {"session_id": shown.json()["id"]}
            case "key":
                made = await self.new_key(owner, Scope.PORFS_READ)
                return {"key_id": int(made.token.split("_")[1])}
            case "ordered":
                return {"order_id": (await theirs.ordered()).json()["id"]}
            case "issued":
                return {"order_id": (await theirs.issued()).json()["id"]}
        porf = (await theirs.in_status(on)).json()
        return {"porf_id": porf["id"], "line_id": porf["lines"][0]["id"]}

    def body(self, name: str, ids: Ids) -> Json | None:
        """A body that the operation accepts, as JSON."""
        number = next(self._serial)
        bodies: dict[str, Json] = {
            "createApiKey": {"name": "Script", "scopes": ["porfs:read"]},
            "inviteUser": {"email": f"invited{number}@matrix.example", "name": "New"},
            "createOrganisation": {"name": "Founded"},
            "updateCurrentOrganisation": {"name": "Company"},
            "createSupplier": {"name": f"Supplier {number}"},
            "createPorf": {"title": "Lamps"},
            "createPurchaseOrder": {"porf_ids": [ids.get("porf_id")]},
            "reassignPorf": {"requester_id": self.other.user_id},
        }
        return bodies.get(name, BY_PATH.get(name))

    def request(self, name: str, ids: Ids) -> tuple[str, str, Json]:
        """Method, path and what else a request needs to be accepted; where that can be, it is a dry run."""
        route = self.routes[name]
        options: Json = {"etag": "*"}
        if route.takes_dry_run:
            options["params"] = {"dry_run": "true"}
        if name == "importPorf":
            options["data"] = {"title": "Imported"}
            options["files"] = {"file": ("lines.csv", b"description,quantity,unit_price\nLamp,1,2\n")}
        elif (body := self.body(name, ids)) is not None:
            options["json"] = body
        return route.method, route.path.removeprefix(PREFIX).format_map(ids), options

    async def ask(self, who: Member, name: str, ids: Ids) -> httpx.Response:
        method, path, options = self.request(name, ids)
        return await who.request(method, path, **options)


async def new_world(app: FastAPI, client: httpx.AsyncClient) -> World:
    cast = await new_cast(app, client)
    organisation_id = cast.company.organisation_id
    members = {role: getattr(cast, role) for role in Role}
    strangers = {
        "stranger": await new_member(app, client, None, []),
        "operator": await new_member(app, client, None, [], is_operator=True),
    }
    everyone = await new_member(app, client, organisation_id, list(Role), is_operator=True)
    other = await cast.company.member(Role.REQUESTER)
    return World(cast, routes_of(app), members | strangers, everyone, other)


@pytest.fixture(scope="module")
async def world(app: FastAPI, client: httpx.AsyncClient) -> World:
    return await new_world(app, client)


def outcome(response: httpx.Response) -> str:
    """What came of a request, in the words of the matrix; status and code where it has none for it."""
    if response.is_success:
        return "yes"
    code = response.json()["code"]
    if response.status_code == 404 and code != "not_found":
        return "404"
    return _OUTCOMES.get((response.status_code, code), f"{response.status_code} {code}")


def _unlisted(app: FastAPI) -> set[str]:
    """Operations without a row, rows without an operation."""
    return {operation["operationId"] for _, _, operation in operations(app)} ^ (MATRIX.keys() | PUBLIC_ANSWERS.keys())


async def test_every_operation_has_its_row(app: FastAPI) -> None:
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
    """The paths of routes, and of whole applications, that the document does not show."""
    return {
        str(context.path)
        for context in iter_route_contexts(all_routes(app))
        if not getattr(context, "include_in_schema", False)
    }


async def test_no_route_is_kept_from_the_document_but_its_own_pages(app: FastAPI) -> None:
    assert _undocumented(app) == _OUTSIDE_THE_DOCUMENT


async def test_the_document_says_which_scope_an_operation_takes(app: FastAPI) -> None:
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
    """Tokens of sessions that are over in one way each; all that they lack is that."""
    revoked, ended, idle = [await world.again(world.everyone) for _ in range(3)]
    ids = [await _session_id(member) for member in (ended, idle)]
    await ok(revoked.delete("/sessions/current"), 204)
    now = utc_now()
    await world.alter(UserSession, UserSession.id, ids[0], expires_at=now)
    await world.alter(UserSession, UserSession.id, ids[1], last_seen_at=now - timedelta(days=8))
    return {"a revoked session": revoked.token, "a session that ended": ended.token, "an idle session": idle.token}


async def _wrong_keys(world: World) -> dict[str, str]:
    revoked, expired = [await world.new_key(world.everyone, *Scope) for _ in range(2)]
    revoked_id, expired_id = [int(member.token.split("_")[1]) for member in (revoked, expired)]
    await ok(world.everyone.delete(f"/api-keys/{revoked_id}"), 204)
    await world.alter(ApiKey, ApiKey.id, expired_id, expires_at=utc_now())
    live_id = int((await world.key(*Scope)).token.split("_")[1])
    return {
        "a revoked key": revoked.token,
        "an expired key": expired.token,
        "a key that was never given out": new_key(2**40),
        "a live key's id with another secret": new_key(live_id),
    }


async def _deactivated(world: World) -> dict[str, str]:
    """Deactivating through the API ends the sessions and keys as well: here they are left."""
    member = await new_member(world.app, world.cast.company.client, world.cast.company.organisation_id, list(Role))
    key = await world.new_key(member, *Scope)
    await world.alter(User, User.id, member.user_id, is_active=False)
    return {"a deactivated user": member.token, "a deactivated user's key": key.token}


@pytest.fixture(scope="module")
async def wrong(world: World) -> dict[str, str | None]:
    """Authorization headers that make nobody of the caller."""
    live = await _session_id(world.everyone)
    header, claims, signature = world.everyone.token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    bearer = {
        "nonsense": "nonsense",
        "an expired token": _signed(world.everyone.user_id, live, age=timedelta(hours=1)),
        "a token of tomorrow": _signed(world.everyone.user_id, live, age=timedelta(days=-1)),
        "a token signed with another key": _signed(world.everyone.user_id, live, key="x" * 32),
        "a token without signature": f"{none}.{claims}.",
        "a token with the signature of another": f"{header}.{claims}.{world.other.token.split('.')[2]}",
        "a token with a changed header": f"{none}.{claims}.{signature}",
        "another user's session": _signed(world.everyone.user_id, await _session_id(world.other)),
        "a session that never was": _signed(world.everyone.user_id, 2**40),
        "a refresh token": tokens.new_secret(),
        **await _ended_sessions(world),
        **await _deactivated(world),
        **await _wrong_keys(world),
    }
    return {
        "nothing": None,
        "an empty header": "",
        "a name and a password": f"Basic {base64.b64encode(b'admin:admin').decode()}",
        "a token by another scheme": f"Token {world.everyone.token}",
        **{name: f"Bearer {token}" for name, token in bearer.items()},
    }


@pytest.mark.parametrize("name", MATRIX)
async def test_without_a_valid_token_nothing_is_done(
    world: World, wrong: dict[str, str | None], client: httpx.AsyncClient, name: str
) -> None:
    method, path, options = world.request(name, await world.possible(name))
    options["headers"] = {"If-Match": options.pop("etag")}
    seen = {}
    for label, value in wrong.items():
        headers = options["headers"] | ({} if value is None else {"Authorization": value})
        response = await client.request(method, f"{PREFIX}{path}", **options | {"headers": headers})
        seen[label] = (outcome(response), response.headers.get("WWW-Authenticate"))
    assert seen == dict.fromkeys(wrong, ("401 unauthenticated", "Bearer"))


@pytest.mark.parametrize("name", MATRIX)
async def test_cookies_from_another_site_open_nothing(world: World, client: httpx.AsyncClient, name: str) -> None:
    method, path, options = world.request(name, await world.possible(name))
    cookies = {"If-Match": options.pop("etag"), "Cookie": f"{ACCESS_COOKIE}={world.everyone.token}"}
    forged: list[dict[str, str]] = [{"Sec-Fetch-Site": "cross-site", "X-CSRF": "1"}]
    if method != "GET":
        forged += [{}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "https://evil.example", "X-CSRF": "1"}]
    for headers in forged:
        request = client.request(method, f"{PREFIX}{path}", headers=cookies | headers, **options)
        await refused(request, 403, "cross_site_request")


# Each role


def _owners(world: World, row: Row, column: str, caller: Member) -> list[Member]:
    """Whose things are tried: the caller's own, if they can have any, and another member's."""
    if row.on in _SHARED:
        return [world.other]
    return [world.other] if row.on in _REQUESTS and column not in _RAISERS else [caller, world.other]


@pytest.mark.parametrize("name", MATRIX)
async def test_each_role_may_do_what_the_matrix_says(world: World, name: str) -> None:
    row = MATRIX[name]
    seen = {}
    for column in COLUMNS:
        caller = await world.newcomer(column) if name in _USED_UP_CALLERS else world.callers[column]
        outcomes: dict[str, None] = {}
        for owner in _owners(world, row, column, caller):
            ids = await world.thing(row.on, owner, fresh=name in _USED_UP_THINGS)
            outcomes[outcome(await world.ask(caller, name, ids))] = None
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


@pytest.mark.parametrize("name", [name for name, row in MATRIX.items() if row.scope is None])
async def test_sessions_and_keys_are_not_for_keys(world: World, name: str) -> None:
    key = await world.key(*Scope)
    await refused(world.ask(key, name, await world.possible(name)), 403, "key_not_accepted")


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_key_opens_no_more_than_its_users_roles(world: World, column: str) -> None:
    """All scopes together are worth what a session is."""
    member = await world.newcomer(column)
    key = await world.new_key(member, *Scope)
    tried = {name for name, row in MATRIX.items() if row.scope is not None and row.on in _SHARED} - _USED_UP_CALLERS
    seen = {}
    for name in tried:
        seen[name] = outcome(await world.ask(key, name, await world.thing(MATRIX[name].on, world.other)))
    assert seen == {name: MATRIX[name].cells[column] for name in tried}


# What nobody has to be signed in for


@pytest.mark.parametrize("name", PUBLIC_ANSWERS)
async def test_a_token_makes_no_difference_where_none_is_needed(
    world: World, wrong: dict[str, str | None], urls: tuple[str, str], name: str
) -> None:
    options, expected = PUBLIC_ANSWERS[name]
    route = world.routes[name]
    tokens_sent = {
        **wrong,
        "a session": f"Bearer {world.everyone.token}",
        "a key": f"Bearer {(await world.key(*Scope)).token}",
    }
    seen = {}
    async with client_of(new_app(urls[1], rate_limit_sign_in="1000/minute")) as client:
        for label, value in tokens_sent.items():
            headers = {} if value is None else {"Authorization": value}
            seen[label] = outcome(await client.request(route.method, route.path, headers=headers, **options))
    assert seen == dict.fromkeys(tokens_sent, expected)
