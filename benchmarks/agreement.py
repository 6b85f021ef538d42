"""Check before measuring: all servers return the same responses."""

import json
from collections.abc import Iterator, Sequence

from benchmarks.load import Request, ask
from benchmarks.processes import App
from benchmarks.scenarios import LIST, get, lists, session_checks, single_porfs
from benchmarks.users import Actors


def require_agreement(apps: Sequence[App], actors: Actors) -> int:
    """Compare the servers' JSON for every request that the peers support; returns the number of requests."""
    count = 0
    for request in _requests(actors, apps[0].port):
        first, *others = [(app, ask(app.port, request)) for app in apps]
        if first[1].status != request.status:
            raise SystemExit(f"{first[0].name} answers {first[1].status} {first[1].body.decode()}")
        expected = json.loads(first[1].body)
        for app, response in others:
            found = json.loads(response.body) if response.status == request.status else response.status
            if found != expected:
                raise SystemExit(
                    f"{app.name} differs from {first[0].name}:\n{request.payload.decode()}"
                    f"{_difference(expected, found)}"
                )
        count += 1
    return count


def _requests(actors: Actors, port: int) -> Iterator[Request]:
    for reader in actors.readers:
        yield from session_checks(reader)
        yield from single_porfs(reader)
        (page,) = lists(reader)
        yield page
        cursor = json.loads(ask(port, page).body)["next_cursor"]
        yield get(f"{LIST}&cursor={cursor}", reader.token, "second page")


def _difference(expected: object, found: object, place: str = "") -> str:
    """The first difference."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in expected.keys() | found.keys():
            if expected.get(name) != found.get(name):
                return _difference(expected.get(name), found.get(name), f"{place}/{name}")
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            if one != other:
                return _difference(one, other, f"{place}/{index}")
    return f"{place}: {expected!r} is not {found!r}"
