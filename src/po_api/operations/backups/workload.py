"""The workload of the drill, through the API: orders from request to document, in two organisations."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.verify import SECRET_KEY, MakeApp, api_on
from po_api.operations.databases import transaction
from po_api.operations.developer_sessions import open_session
from po_api.operations.embedded.server import EmbeddedUrls
from po_api.organisations.service import OrganisationService
from po_api.settings import Settings
from po_api.users.service import UserService

T = TypeVar("T")

_ORGANISATIONS = ("first", "second")
_LINES = [
    {"description": f"Article {number}", "quantity": f"{number}.5", "unit_price": "19.99", "tax_rate": "20"}
    for number in range(1, 6)
]


class Workload:
    """Uses the API on a server of the drill, in this process. Raises BackupError for unexpected responses."""

    def __init__(self, settings: Settings, urls: EmbeddedUrls, make_app: MakeApp) -> None:
        self._settings = settings
        self._urls = urls
        self._make_app = make_app

    def set_up(self) -> None:
        """Create two organisations, each with a requester and a buyer who may approve."""
        asyncio.run(self._set_up())

    def write(self, orders: int = 1) -> None:
        """Create this number of orders in each organisation, from the request to the issued document."""
        self._run(partial(self._write, orders))

    def reasons(self) -> list[str]:
        """The codes of the reasons why the API is not ready."""
        return [reason["code"] for reason in self._run(_readiness)["reasons"]]

    def archive_fails(self) -> bool:
        """Whether the readiness reports failing archiving."""
        return bool(self._run(_readiness)["wal_archive"] == "failing")

    def _run(self, work: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
        async def run() -> T:
            async with api_on(self._settings, self._urls, self._make_app) as client:
                return await work(client)

        return asyncio.run(run())

    async def _set_up(self) -> None:
        for name in _ORGANISATIONS:
            async with transaction(self._urls.app, self._settings) as session:
                organisation = await OrganisationService(session).create(
                    name=name, currency="EUR", timezone="UTC", address="1 Drill Street"
                )
                await enter_tenant(session, organisation.id)
                for part, roles in (("requester", [Role.REQUESTER]), ("buyer", [Role.APPROVER, Role.BUYER])):
                    email = f"{part}@{name}.example"
                    await UserService(session).create(
                        email=email, name=email, organisation_id=organisation.id, roles=roles
                    )

    async def _write(self, orders: int, client: httpx.AsyncClient) -> None:
        for name in _ORGANISATIONS:
            requester, buyer = [await self._token(f"{part}@{name}.example") for part in ("requester", "buyer")]
            supplier = await _post(client, buyer, "/suppliers", {"name": f"Supplier {uuid4()}"})
            for _ in range(orders):
                body = {"title": "Articles", "supplier_id": supplier.json()["id"], "lines": _LINES}
                porf = await _post(client, requester, "/porfs", body)
                path = f"/porfs/{porf.json()['id']}"
                porf = await _post(client, requester, f"{path}/submit", None, porf)
                porf = await _post(client, buyer, f"{path}/approve", None, porf)
                order = await _post(client, buyer, f"{path}/purchase-orders", {}, porf)
                await _post(client, buyer, f"/purchase-orders/{order.json()['id']}/issue", None, order)

    async def _token(self, email: str) -> str:
        async with transaction(self._urls.app, self._settings) as session:
            return await open_session(session, email=email, key=SECRET_KEY, lifetime=timedelta(hours=1))


async def _post(
    client: httpx.AsyncClient, token: str, path: str, body: Any, last: httpx.Response | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | ({"If-Match": last.headers["ETag"]} if last is not None else {})
    response = await client.post(f"/api/v1{path}", json=body, headers=headers)
    if response.is_error:
        raise BackupError(f"POST {path} returned {response.status_code} {response.json().get('code', '')}")
    return response


async def _readiness(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/health/ready")).json()
    return found
