"""Organisations for the tests, and requests to the API as their members."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

import httpx
from fastapi import FastAPI
from sqlalchemy import bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.audit import Change, record
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.bulk_write import NOW, as_json, insert_from, json_rows
from po_api.db.database import Database, enter_tenant
from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.members.models import Member as MemberRow
from po_api.organisations.service import OrganisationService
from po_api.sessions import tokens
from po_api.sessions.models import UserSession
from po_api.sessions.service import SessionService
from po_api.suppliers.service import SupplierService
from po_api.users.models import User
from po_api.users.service import UserService

PREFIX = "/api/v1"
_serial = itertools.count(1)


@dataclass(frozen=True)
class Member:
    """A signed-in user; paths are relative to /api/v1."""

    client: httpx.AsyncClient
    user_id: int
    email: str
    token: str

    async def request(self, method: str, path: str, *, etag: str | None = None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        if etag is not None:
            headers["If-Match"] = etag
        return await self.client.request(method, f"{PREFIX}{path}", headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("DELETE", path, **options)


@dataclass(frozen=True)
class Tenant:
    """An organisation for one test, without members: tests on committed data do not see each other's rows."""

    app: FastAPI
    client: httpx.AsyncClient
    organisation_id: int

    @property
    def database(self) -> Database:
        database: Database = self.app.state.database
        return database

    async def member(self, *roles: Role, approval_limit: str | None = None, name: str = "") -> Member:
        """A new member, signed in through a real session."""
        return await new_member(
            self.app, self.client, self.organisation_id, roles, approval_limit=approval_limit, name=name
        )


async def new_member(
    app: FastAPI,
    client: httpx.AsyncClient,
    organisation_id: int | None,
    roles: Sequence[Role],
    *,
    approval_limit: str | None = None,
    name: str = "",
    is_operator: bool = False,
) -> Member:
    async with app.state.database.sessions.begin() as session:
        if organisation_id is not None:
            await enter_tenant(session, organisation_id)
        return await _add_member(
            app,
            client,
            session,
            name=name,
            organisation_id=organisation_id,
            roles=list(roles) or [Role.REQUESTER],
            approval_limit=None if approval_limit is None else Decimal(approval_limit),
            is_operator=is_operator,
        )


async def set_active(tenant: Tenant, user_id: int, *, active: bool) -> None:
    """What `po-api users deactivate` and `activate` do."""
    async with tenant.database.sessions.begin() as session:
        users = UserService(session)
        await users.set_active(await users.get(user_id), active=active)


async def with_new_session(app: FastAPI, member: Member) -> Member:
    """The user of `member`, signed in again."""
    async with app.state.database.sessions.begin() as session:
        user = await UserService(session).get(member.user_id)
        token = await SessionService(session, key=app.state.secret_key).open(user, lifetime=timedelta(hours=1))
    return replace(member, token=token)


async def _add_member(
    app: FastAPI, client: httpx.AsyncClient, session: AsyncSession, *, name: str = "", **values: Any
) -> Member:
    number = next(_serial)
    email = _address(number)
    user = await UserService(session).create(email=email, name=name or f"User {number}", **values)
    token = await SessionService(session, key=app.state.secret_key).open(user, lifetime=timedelta(hours=1))
    return Member(client, user.id, email, token)


def _address(number: int) -> str:
    return f"user{number}@company.example"


async def new_tenant(app: FastAPI, client: httpx.AsyncClient, **settings: Any) -> Tenant:
    async with app.state.database.sessions.begin() as session:
        return Tenant(app, client, await _add_organisation(session, settings))


async def _add_organisation(session: AsyncSession, settings: dict[str, Any]) -> int:
    values = {"name": "Company", "currency": "GBP", "timezone": "Europe/London"} | settings
    organisation = await OrganisationService(session).create(**values)
    return organisation.id


LINE = {"description": "Desk lamp", "quantity": "10", "unit_price": "24.90", "tax_rate": "20"}


@dataclass(frozen=True)
class TestOrganisation(Tenant):
    """A tenant with one member for each role, and a supplier."""

    __test__: ClassVar[bool] = False  # pytest takes classes named Test… for its own

    requester: Member
    approver: Member
    buyer: Member
    admin: Member
    auditor: Member
    supplier_id: int

    async def draft(self, **fields: Any) -> httpx.Response:
        """A draft of the requester with one line (ten lamps); the response to its creation."""
        body = {"title": "Lamps", "supplier_id": self.supplier_id, "lines": [LINE]} | fields
        return await created(self.requester.post("/porfs", json=body))

    async def pending(self, **fields: Any) -> httpx.Response:
        draft = await self.draft(**fields)
        return await act(self.requester, draft, "submit")

    async def approved(self, **fields: Any) -> httpx.Response:
        return await act(self.approver, await self.pending(**fields), "approve")

    async def ordered(self, *, lines: list[dict[str, Any]] | None = None, **fields: Any) -> httpx.Response:
        """A draft purchase order of all or some of an approved request."""
        approved = await self.approved(**fields)
        return await created(
            self.buyer.post(
                f"/porfs/{approved.json()['id']}/purchase-orders",
                etag=approved.headers["ETag"],
                json={"lines": lines or []},
            )
        )

    async def set_supplier(self, *, active: bool) -> None:
        """Deactivate or reactivate the supplier."""
        path = f"/suppliers/{self.supplier_id}"
        etag = (await ok(self.buyer.get(path))).headers["ETag"]
        await ok(self.buyer.post(f"{path}/{'activate' if active else 'deactivate'}", etag=etag))

    async def change_supplier(self, **fields: Any) -> httpx.Response:
        """The response to the change of these fields of the supplier."""
        path = f"/suppliers/{self.supplier_id}"
        etag = (await ok(self.buyer.get(path))).headers["ETag"]
        return await ok(self.buyer.patch(path, etag=etag, json=fields))

    async def in_status(self, status: str) -> httpx.Response:
        """A request of the requester with this status; the response to its last action."""
        match status:
            case "draft":
                return await self.draft()
            case "pending":
                return await self.pending()
            case "rejected":
                return await act(self.approver, await self.pending(), "reject", comment="No budget")
            case "cancelled":
                return await act(self.requester, await self.pending(), "cancel")
        approved = await self.approved()
        match status:
            case "approved":
                return approved
            case "closed":
                return await act(self.buyer, approved, "close")
        path, line_id = f"/porfs/{approved.json()['id']}", approved.json()["lines"][0]["id"]
        wanted = {"partially_ordered": [{"line_id": line_id, "quantity": "4"}], "ordered": []}[status]
        etag = approved.headers["ETag"]
        await created(self.buyer.post(f"{path}/purchase-orders", etag=etag, json={"lines": wanted}))
        return await ok(self.buyer.get(path))

    async def issued(self, **fields: Any) -> httpx.Response:
        order = await self.ordered(**fields)
        path = f"/purchase-orders/{order.json()['id']}/issue"
        return await ok(self.buyer.post(path, etag=order.headers["ETag"]))

    async def convert(self, porf: httpx.Response, **body: Any) -> httpx.Response:
        """The response to the buyer's conversion of the request of the response `porf`."""
        path = f"/porfs/{porf.json()['id']}/purchase-orders"
        return await self.buyer.post(path, etag=porf.headers["ETag"], json=body)


async def new_organisation(app: FastAPI, client: httpx.AsyncClient, **settings: Any) -> TestOrganisation:
    async with app.state.database.sessions.begin() as session:
        organisation_id = await _add_organisation(session, settings)
        await enter_tenant(session, organisation_id)
        members = await _add_one_member_for_each_role(app, client, session, organisation_id)
        buyer = Actor(organisation_id, members[Role.BUYER].user_id, frozenset({Role.BUYER}))
        supplier = await SupplierService(session, buyer).create(name="Müller & Söhne GmbH")
        return TestOrganisation(
            app, client, organisation_id, supplier_id=supplier.id, **{role.value: members[role] for role in Role}
        )


async def _add_one_member_for_each_role(
    app: FastAPI, client: httpx.AsyncClient, session: AsyncSession, organisation_id: int
) -> dict[Role, Member]:
    """What `UserService.create` and `SessionService.open` do for one member, for all of them in three statements and
    without entities: most tests have an organisation of their own."""
    now, lifetime = utc_now(), timedelta(hours=1)
    users = [_new_user(role) | {"joined_at": now} for role in Role]
    executor = TransactionExecutor(session)
    rows = {"organisation_id": organisation_id, "now": now}
    opened = await executor.rows(_OPEN_SESSIONS, **rows, expires_at=now + lifetime, users=as_json(users))
    by_email = {account.email: account for account in opened}
    accounts = {role: by_email[user["email"]] for role, user in zip(Role, users, strict=True)}
    joined = [user | {"user_id": account.user_id} for user, account in zip(users, accounts.values(), strict=True)]
    await executor.rows(_JOIN, **rows, members=as_json(joined))
    changes = [
        Change("user.create", "user", account.user_id, None, {"roles": [role], "approval_limit": None}, version=1)
        for role, account in accounts.items()
    ]
    await record(session, Actor.command_line(organisation_id), *changes)

    def token(account: _Account) -> str:
        content = tokens.AccessToken(account.user_id, account.session_id)
        return tokens.sign(content, key=app.state.secret_key, issued_at=now, lifetime=lifetime)

    return {role: Member(client, account.user_id, account.email, token(account)) for role, account in accounts.items()}


def _new_user(role: Role) -> dict[str, Any]:
    number = next(_serial)
    name = "Rosa Requester" if role is Role.REQUESTER else f"User {number}"
    return {"email": _address(number), "name": name, "roles": [role], "token": tokens.digest(tokens.new_secret())}


class _Account(NamedTuple):
    email: str
    user_id: int
    session_id: int


def _open_sessions() -> Query[_Account]:
    """The users of the rows, who sign in just now, and their sessions."""
    rows = json_rows("users", User.__table__.c.email, User.__table__.c.name, UserSession.__table__.c.token)
    new_users = (
        insert(User)
        .from_select(
            ["email", "name", "organisation_id", "last_login"],
            select(rows.c.email, rows.c.name, ORGANISATION_ID, NOW),
            include_defaults=False,
        )
        .returning(User.id, User.email)
        .cte("new_users")
    )
    expires_at = bindparam("expires_at", type_=Timestamp)
    new_sessions = (
        insert(UserSession)
        .from_select(
            ["user_id", "token", "expires_at"],
            select(new_users.c.id, rows.c.token, expires_at).join_from(
                new_users, rows, new_users.c.email == rows.c.email
            ),
            include_defaults=False,
        )
        .returning(UserSession.id, UserSession.user_id)
        .cte("new_sessions")
    )
    accounts = select(
        new_users.c.email, new_users.c.id.label("user_id"), new_sessions.c.id.label("session_id")
    ).join_from(new_users, new_sessions, new_users.c.id == new_sessions.c.user_id)
    return Query("tests.open_sessions", accounts, _Account)


class _Joined(NamedTuple):
    organisation_id: int


_OPEN_SESSIONS = _open_sessions()
_MEMBER = MemberRow.__table__
_JOIN = Query(
    "tests.join",
    insert_from(
        _MEMBER, json_rows("members", *(_MEMBER.c[name] for name in ("user_id", "email", "name", "roles", "joined_at")))
    ),
    _Joined,
)


async def ok(pending: Any, status: int = 200) -> httpx.Response:
    """The response, whose status is checked."""
    response: httpx.Response = await pending
    assert response.status_code == status, response.text
    return response


async def created(pending: Any) -> httpx.Response:
    return await ok(pending, 201)


async def act(member: Member, porf: httpx.Response, action: str, **body: Any) -> httpx.Response:
    """Perform an action on the request of the response `porf`."""
    path = f"/porfs/{porf.json()['id']}/{action}"
    return await ok(member.post(path, etag=porf.headers["ETag"], json=body))


async def perform(member: Member, order: httpx.Response, action: str, **options: Any) -> httpx.Response:
    """The response to an action on the purchase order of the response `order`; it is cancelled with a comment."""
    if action == "cancel":
        options.setdefault("json", {"comment": "No longer needed"})
    path = f"/purchase-orders/{order.json()['id']}/{action}"
    return await member.post(path, etag=order.headers["ETag"], **options)


async def again(member: Member, shown: httpx.Response) -> httpx.Response:
    """The current representation of the request or order of the response `shown`."""
    kind = "porfs" if "approval_round" in shown.json() else "purchase-orders"
    return await ok(member.get(f"/{kind}/{shown.json()['id']}"))


async def refused(pending: Any, status: int, code: str) -> dict[str, Any]:
    """The problem, whose status and code are checked."""
    response: httpx.Response = await pending
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem
