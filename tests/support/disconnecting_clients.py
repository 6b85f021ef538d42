"""Concurrent clients of several organisations, many of which disconnect during a request."""

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from email import message_from_bytes
from email.message import Message
from typing import Any

import asyncpg
import httpx
from fastapi import FastAPI

from po_api.db.database import libpq_url
from support.applications import serving
from support.organisations import LINE, PREFIX, Member, TestOrganisation, ok
from support.polling import Deadline

TURNS = 10
SEED = 20_261_125


class Caller:
    """A client that reads and writes, each time on a new connection, and disconnects during every fourth request."""

    def __init__(self, number: int, port: int, member: Member, draft: int) -> None:
        self._randomness = random.Random(SEED + number)
        self._port = port
        self._member = member
        self._draft = draft
        self.answers: Counter[int | str] = Counter()

    async def work(self) -> None:
        for turn in range(TURNS):
            request = asyncio.create_task(self._request(turn))
            if self._randomness.random() < 0.25:
                await asyncio.sleep(self._randomness.uniform(0, 0.2))
                request.cancel()
            with suppress(asyncio.CancelledError):
                await request
                continue
            self.answers["left"] += 1

    async def _request(self, turn: int) -> None:
        match turn % 4:
            case 0:
                body = json.dumps({"title": self._member.email, "lines": [LINE]})
                status, headers, answer = await self._ask("POST", "/porfs", body)
            case 1:
                status, headers, answer = await self._ask("GET", f"/porfs/{self._draft}")
            case 2:
                status, headers, answer = await self._ask("GET", "/users/me")
            case _:
                status, headers, answer = await self._ask("GET", "/porfs?limit=20")
        self.answers[status] += 1
        if status == 503:
            assert answer["code"] == "unavailable"
            assert int(headers["Retry-After"]) > 0
        else:
            assert status in {200, 201}, answer
            self._require_own(answer)

    async def _ask(self, method: str, path: str, body: str = "") -> tuple[int, Message, Any]:
        """Plain HTTP: clients with pools lose track of connections when they are cancelled so often."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            head = (
                f"{method} {PREFIX}{path} HTTP/1.1\r\nHost: po\r\nConnection: close\r\n"
                f"Authorization: Bearer {self._member.token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(f"{head}{body}".encode())
            head_of_answer, _, content = (await reader.read()).partition(b"\r\n\r\n")
            line, _, headers = head_of_answer.partition(b"\r\n")
            return int(line.split()[1]), message_from_bytes(headers), json.loads(content)
        finally:
            writer.transport.abort()

    def _require_own(self, body: dict[str, Any]) -> None:
        """All requests in the response are the organisation's: they have the address of its only requester."""
        for item in body.get("items", [body]):
            shown = item.get("title") or item["email"]
            assert shown == self._member.email


async def leave_nothing_behind(
    app: FastAPI, casts: list[TestOrganisation], owner_url: str, *, callers: int
) -> Counter[int | str]:
    """Run this number of clients against a server of the application, and check its state; returns the responses."""
    drafts = [await organisation.draft(title=organisation.requester.email) for organisation in casts]
    with serving(app) as address:
        port = int(address.rpartition(":")[2])
        working = [
            Caller(number, port, casts[number % len(casts)].requester, drafts[number % len(casts)].json()["id"])
            for number in range(callers)
        ]
        await asyncio.gather(*(caller.work() for caller in working))
        answers = sum((caller.answers for caller in working), Counter())
        # Retries succeed, and disconnected clients have left no open connection.
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            for organisation in casts:
                headers = {"Authorization": f"Bearer {organisation.requester.token}"}
                await ok(client.get(f"{PREFIX}/porfs", headers=headers))
        await _require_no_open_transaction(owner_url)
        pool: Any = app.state.database.engine.pool
        assert pool.checkedout() == 0
        assert pool.overflow() <= 0
    assert answers.total() == callers * TURNS
    assert set(answers) <= {200, 201, 503, "left"}
    assert answers[200] and answers[201] and answers["left"]
    return answers


async def _require_no_open_transaction(url: str) -> None:
    """Wait for the requests of disconnected clients, which are processed nevertheless."""
    connection = await asyncpg.connect(libpq_url(url))
    in_transaction = (
        "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND application_name = 'po-api'"
    )
    deadline = Deadline("no transaction that is open")
    while await connection.fetchval(in_transaction):
        deadline.check()
        await asyncio.sleep(0.02)
    await connection.close()
