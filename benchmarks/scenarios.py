"""The requests of each scenario, as bytes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from benchmarks.load import Request, Script, Scripts, ask
from benchmarks.users import Actors, MainJobUsers, Reader, cursor_at

PREFIX = "/api/v1"
LIST = "/porfs?limit=50"
SESSION = "/state-machines/porf"
_LINES = [
    {
        "description": f"Desk lamp {number}",
        "sku": f"LAMP-{number}",
        "quantity": "10",
        "unit_price": "24.90",
        "discount_percent": "5",
        "tax_rate": "20",
    }
    for number in range(5)
]
# In names: of organisations with a policy of three stages.
WITH_POLICY = ", policy"
# The mix of a working user, in per cent of the requests.
_MIX = {"list": 40, "porf": 30, "filtered": 8, "search": 5, "session": 7, "create": 6, "job": 4}


@dataclass(frozen=True)
class Scenario:
    """`peers`: whether the peers support it too."""

    name: str
    scripts: Scripts
    peers: bool = False


def get(path: str, token: str, label: str) -> Request:
    return Request(_head("GET", path, token) + b"\r\n", label)


def post(path: str, token: str, label: str, *, status: int = 200, body: Any = None, etag: str = "") -> Request:
    return _with_body("POST", path, token, label, status=status, body=body, etag=etag)


def patch(path: str, token: str, label: str, *, body: Any) -> Request:
    """Whatever the version is."""
    return _with_body("PATCH", path, token, label, status=200, body=body, etag="*")


def _with_body(method: str, path: str, token: str, label: str, *, status: int, body: Any, etag: str) -> Request:
    content = b"" if body is None else json.dumps(body).encode()
    head = _head(method, path, token) + f"Content-Length: {len(content)}\r\n".encode()
    if content:
        head += b"Content-Type: application/json\r\n"
    if etag:
        head += f"If-Match: {etag}\r\n".encode()
    return Request(head + b"\r\n" + content, label, status)


def _head(method: str, path: str, token: str) -> bytes:
    return (
        f"{method} {PREFIX}{path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: application/json\r\n"
        f"Authorization: Bearer {token}\r\n"
    ).encode()


def all_scenarios(actors: Actors, port: int) -> list[Scenario]:
    """All scenarios; `port` is that of an API, for a first cursor."""
    readers = actors.readers
    return [
        Scenario("session check", _by_readers(readers, session_checks), peers=True),
        Scenario("list of 50", _by_readers(readers, lists), peers=True),
        Scenario("one PORF with lines", _by_readers(readers, single_porfs), peers=True),
        Scenario(f"list of 50{WITH_POLICY}", _by_readers(actors.policy_readers, lists), peers=True),
        Scenario(f"one PORF with lines{WITH_POLICY}", _by_readers(actors.policy_readers, single_porfs), peers=True),
        Scenario("first page", _cycling([get(LIST, actors.largest.token, "first page")])),
        Scenario("deep page", _cycling([deep_page(actors, port)])),
        Scenario("filtered and sorted list", _cycling(filtered(actors.largest))),
        Scenario("search, rare word", _cycling([search(actors.largest, actors.rare_word)])),
        Scenario("search, common word", _cycling([search(actors.largest, actors.common_word)])),
        Scenario("create with 5 lines", _by_main_job_users(actors.main_job_users, _creating)),
        Scenario("main job", _by_main_job_users(actors.main_job_users, _main_jobs)),
        Scenario(f"main job{WITH_POLICY}", _by_main_job_users(actors.policy_users[1:], _main_jobs)),
        Scenario("mix", _mixed(actors)),
    ]


def scripts_of(name: str, actors: Actors, port: int) -> Scripts:
    """The scripts of one scenario."""
    return next(scenario.scripts for scenario in all_scenarios(actors, port) if scenario.name == name)


def session_checks(reader: Reader) -> list[Request]:
    return [get(SESSION, reader.token, "session check")]


def lists(reader: Reader) -> list[Request]:
    return [get(LIST, reader.token, "list of 50")]


def single_porfs(reader: Reader) -> list[Request]:
    return [get(f"/porfs/{porf}", reader.token, "one PORF with lines") for porf in reader.porfs]


def filtered(reader: Reader) -> list[Request]:
    paths = (
        "/porfs?status=approved&status=closed&sort=-total&limit=50",
        "/porfs?created_at_gte=2025-01-01T00:00:00Z&created_at_lt=2026-01-01T00:00:00Z&sort=number&limit=50",
        "/porfs?status=pending&sort=updated_at&limit=50",
        "/porfs?waiting_for_me=false&currency=EUR&cost_centre=4007&limit=50",
    )
    return [get(path, reader.token, "filtered and sorted list") for path in paths]


def search(reader: Reader, word: str) -> Request:
    return get(f"/porfs?q={quote(word)}&limit=50", reader.token, "search")


def deep_page(actors: Actors, port: int) -> Request:
    token = actors.largest.token
    given = json.loads(ask(port, get(LIST, token, "")).body)["next_cursor"]
    return get(f"{LIST}&cursor={cursor_at(actors.deep, given)}", token, "deep page")


def create(users: MainJobUsers) -> Request:
    body = {"title": "Lamps for the new office", "supplier_id": users.supplier_id, "lines": _LINES}
    return post("/porfs", users.requester, "create", status=201, body=body)


def main_job(users: MainJobUsers) -> Script:
    """From a draft to the supplier's document; aborted at the first unexpected response."""
    draft = yield create(users)
    if draft.status != 201:
        return
    porf = f"/porfs/{draft.id}"
    last = yield post(f"{porf}/submit", users.requester, "submit", etag=draft.etag)
    for stage, approver in enumerate(users.approvers, start=1):
        label = "approve" if len(users.approvers) == 1 else f"approve, stage {stage}"
        last = yield post(f"{porf}/approve", approver, label, etag=last.etag)
    order = yield post(f"{porf}/purchase-orders", users.buyer, "convert", status=201, etag=last.etag)
    if order.status != 201:
        return
    path = f"/purchase-orders/{order.id}"
    yield post(f"{path}/issue", users.buyer, "issue", etag=order.etag)
    yield get(f"{path}/document.pdf", users.buyer, "PDF")


def _cycling(requests: Sequence[Request]) -> Scripts:
    """Each connection begins with another request."""

    def script(number: int) -> Script:
        position = number
        while True:
            yield requests[position % len(requests)]
            position += 1

    return script


def _by_readers(readers: Sequence[Reader], requests_of: Callable[[Reader], list[Request]]) -> Scripts:
    return _cycling([request for reader in readers for request in requests_of(reader)])


def _by_main_job_users(users: Sequence[MainJobUsers], script_of: Callable[[MainJobUsers], Script]) -> Scripts:
    return lambda number: script_of(users[number % len(users)])


def _creating(users: MainJobUsers) -> Script:
    request = create(users)
    while True:
        yield request


def _main_jobs(users: MainJobUsers) -> Script:
    while True:
        yield from main_job(users)


def _mixed(actors: Actors) -> Scripts:
    largest = actors.largest
    pools = {
        "list": [request for reader in actors.readers for request in lists(reader)],
        "porf": [request for reader in actors.readers for request in single_porfs(reader)],
        "filtered": filtered(largest),
        "search": [search(largest, actors.rare_word)],
        "session": [request for reader in actors.readers for request in session_checks(reader)],
        "create": [create(users) for users in actors.main_job_users],
    }

    def script(number: int) -> Script:
        random = Random(number)
        while True:
            kind = random.choices(list(_MIX), weights=list(_MIX.values()))[0]
            if kind == "job":
                yield from main_job(actors.main_job_users[number % len(actors.main_job_users)])
            else:
                yield random.choice(pools[kind])

    return script
