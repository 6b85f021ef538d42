"""The shortcuts through FastAPI and Starlette have the same results, and skip the intended work."""

from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from po_api.web.fast_path import Handler, NarrowingRoute, RouteGroup, query_parameters


async def _filters(status: Annotated[str | None, Query()] = None, needed: int = 7) -> tuple[str | None, int]:
    return status, needed


async def _list(
    request: Request, found: Annotated[tuple[str | None, int], Depends(_filters)], q: str, limit: int = 50
) -> dict[str, Any]:
    return {"filters": found, "q": q, "limit": limit}


class _Narrowed(NarrowingRoute):
    """Always uses the handler for the parameters of its class."""

    names: frozenset[str] = frozenset()

    def get_route_handler(self) -> Handler:
        return self.handler_for(self.names)


def _narrowed_to(*names: str) -> type[_Narrowed]:
    return type("_NarrowedTo", (_Narrowed,), {"names": frozenset(names)})


async def _get(app: FastAPI, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.request(options.pop("method", "GET"), path, **options)


def _app(route_class: type[NarrowingRoute]) -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/api", route_class=route_class)
    router.add_api_route("/list", _list)
    app.router.routes.append(RouteGroup(router))
    return app


def test_a_dependant_has_the_fields_that_are_replaced() -> None:
    assert {"query_params", "dependencies"} <= {field.name for field in fields(Dependant)}


def test_all_query_parameters_are_known() -> None:
    route = NarrowingRoute("/list", _list)
    assert query_parameters(route.dependant) == {"status", "needed", "q", "limit"}


async def test_with_all_parameters_the_answer_is_fastapis() -> None:
    names = ("status", "needed", "q", "limit")
    query = {"status": "draft", "needed": 3, "q": "x", "limit": 5}
    answer = await _get(_app(_narrowed_to(*names)), "/api/list", params=query)
    assert answer.json() == {"filters": ["draft", 3], "q": "x", "limit": 5}


async def test_parameters_that_were_left_out_are_not_looked_at() -> None:
    """They have their defaults even if they are in the request, since they are not read."""
    query = {"status": "draft", "needed": "not a number", "q": "x", "limit": "not a number"}
    answer = await _get(_app(_narrowed_to("status", "q")), "/api/list", params=query)
    assert answer.json() == {"filters": ["draft", 7], "q": "x", "limit": 50}


async def test_a_required_parameter_is_always_looked_at() -> None:
    answer = await _get(_app(_narrowed_to()), "/api/list")
    assert answer.status_code == 422
    assert [item["loc"] for item in answer.json()["detail"]] == [["query", "q"]]


def test_the_route_itself_keeps_all_its_parameters() -> None:
    route = NarrowingRoute("/list", _list)
    whole = route.dependant
    route.handler_for(frozenset())
    assert route.dependant is whole
    assert query_parameters(whole) == {"status", "needed", "q", "limit"}


async def _signed_in(request: Request) -> str:
    request.state.checks = getattr(request.state, "checks", 0) + 1
    if (name := request.headers.get("x-name")) is None:
        raise HTTPException(401, "sign in")
    return name


class _Page:
    """A dependency that is no function."""

    async def __call__(
        self, name: Annotated[str, Depends(_signed_in)], limit: Annotated[int, Query(ge=1, alias="most")] = 50
    ) -> tuple[str, int]:
        return name, limit


_Name = Annotated[str, Depends(_signed_in)]
_PageOf = Annotated[tuple[str, int], Depends(_Page())]


async def _plain(
    request: Request,
    thing_id: Annotated[int, Path(ge=1)],
    page: _PageOf,
    name: _Name,
    q: Annotated[list[str], Query(default_factory=list)],
) -> JSONResponse:
    return JSONResponse([thing_id, page, name, q, request.state.checks], 203)


async def _with_header(x_name: Annotated[str, Header()]) -> Response:
    return Response(x_name)


def _blocking(name: _Name) -> Response:
    return Response(name)


async def _opened(name: _Name) -> AsyncIterator[str]:
    yield name


async def _with_generator(name: Annotated[str, Depends(_opened)]) -> Response:
    return Response(name)


async def _with_response(name: _Name, response: Response) -> Response:
    response.headers["x-unused"] = "yes"
    return Response(name)


async def _unrendered(name: _Name) -> str:
    return name


def _answering(endpoint: Callable[..., Any], route_class: type[APIRoute]) -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/api", route_class=route_class)
    router.add_api_route("/{thing_id}", endpoint, response_model=None)
    app.router.routes.append(RouteGroup(router))
    return app


_ALL = _narrowed_to("most", "q")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/5?most=3&q=a&q=b", {"x-name": "Ann"}),
        ("/api/5", {"x-name": "Ann"}),
        ("/api/0?most=none", {"x-name": "Ann"}),
        ("/api/x?most=0", {}),
    ],
)
async def test_a_plain_endpoint_answers_as_with_fastapi(path: str, headers: dict[str, str]) -> None:
    """Dependencies are called once, before the parameters are refused, all of them at once."""
    expected = await _get(_answering(_plain, APIRoute), path, headers=headers)
    answer = await _get(_answering(_plain, _ALL), path, headers=headers)
    assert (answer.status_code, answer.json()) == (expected.status_code, expected.json())
    assert expected.status_code in {203, 422, 401}


@pytest.mark.parametrize("endpoint", [_with_header, _blocking, _with_generator, _with_response, _unrendered])
async def test_fastapi_handles_all_other_endpoints(
    endpoint: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await _get(_answering(endpoint, _ALL), "/api/5", headers={"x-name": "Ann"})
    assert (answer.status_code, answer.text.strip('"')) == (200, "Ann")
    monkeypatch.delattr("fastapi.routing.solve_dependencies")
    assert (await _get(_answering(_plain, _ALL), "/api/5", headers={"x-name": "Ann"})).status_code == 203
    with pytest.raises(NameError):
        await _get(_answering(endpoint, _ALL), "/api/5", headers={"x-name": "Ann"})


class _Counting(BaseRoute):
    """Counts the calls of `matches`, and never matches."""

    path = "/others/{other_id}"

    def __init__(self) -> None:
        self.looked_at = 0

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        self.looked_at += 1
        return Match.NONE, {}


def _grouped() -> tuple[FastAPI, _Counting]:
    first, second, other = APIRouter(prefix="/things"), APIRouter(prefix="/things"), APIRouter(prefix="/others")
    counting = _Counting()

    def answering(text: str) -> Callable[[], Response]:
        return lambda: Response(text)

    first.add_api_route("/special", answering("special"))
    second.add_api_route("/{thing_id}", answering("thing"))
    second.add_api_route("/{thing_id}", answering("deleted"), methods=["DELETE"])
    other.routes.append(counting)
    app = FastAPI()
    app.router.routes.extend([RouteGroup(other), RouteGroup(first, second)])
    return app, counting


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/things/special", 200, "special"),
        ("GET", "/things/5", 200, "thing"),
        ("DELETE", "/things/5", 200, "deleted"),
        ("POST", "/things/5", 405, '{"detail":"Method Not Allowed"}'),
        ("GET", "/things/5/more", 404, '{"detail":"Not Found"}'),
        ("GET", "/nothing", 404, '{"detail":"Not Found"}'),
    ],
)
async def test_a_group_answers_as_its_routes_would(method: str, path: str, status: int, text: str) -> None:
    app, _ = _grouped()
    answer = await _get(app, path, method=method)
    assert (answer.status_code, answer.text) == (status, text)


async def test_a_group_is_only_searched_for_paths_with_its_prefix_and_routes_with_as_many_segments() -> None:
    app, counting = _grouped()
    for path in ("/things/5", "/others/5/more"):
        await _get(app, path)
    assert counting.looked_at == 0
    await _get(app, "/others/5")
    assert counting.looked_at > 0
