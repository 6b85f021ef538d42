"""Shortcuts through FastAPI's and Starlette's routing, which took a third of the time of a short request.

They depend on parts that are not documented: `Dependant`, from which FastAPI builds a handler, the function that reads
parameters, and the routes' `matches`. tests/web/test_fast_path.py fails when a version changes these.
"""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import fields, replace
from inspect import iscoroutinefunction, signature
from typing import Any, get_origin

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

# The attributes of dependants that `_solved` looks at, and those without a meaning for coroutine functions.
_PLAIN = frozenset(
    "path_params query_params dependencies name call request_param_name"
    " path own_oauth_scopes parent_oauth_scopes scope".split()
)
_DEFAULTS = {each.name: getattr(Dependant(), each.name) for each in fields(Dependant)}


class NarrowingRoute(APIRoute):
    """A route that has a handler for each set of query parameters that a request may have.

    It has to be in a RouteGroup: for routes of `include_router` FastAPI takes the parameters from elsewhere.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = _application(self.get_route_handler())

    def handler_for(self, names: frozenset[str]) -> Handler:
        """FastAPI's handler of requests that have the query parameters `names`, and no other optional ones.

        FastAPI validates each parameter of an operation, sent or not, in ten microseconds each: that took a fifth of
        the time of a list without filters.
        """
        whole = self.dependant
        narrowed = _narrowed(whole, names)
        if self.body_field is None and _returns_response(narrowed) and _is_plain(narrowed):
            return _handler_of(narrowed)
        self.dependant = narrowed
        try:
            return super().get_route_handler()
        finally:
            self.dependant = whole


def _application(handle: Handler) -> ASGIApp:
    """FastAPI's own also passes exceptions to their handlers, as a middleware outside of it does anyway."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as of_request:
            # What dependencies have opened is closed when the response was sent.
            scope["fastapi_inner_astack"] = scope["fastapi_function_astack"] = of_request
            response = await handle(Request(scope, receive, send))
            await response(scope, receive, send)

    return application


def query_parameters(dependant: Dependant) -> set[str]:
    """The names of all query parameters of an operation, those of its dependencies included."""
    names = {field.alias for field in dependant.query_params}
    return names.union(*(query_parameters(child) for child in dependant.dependencies))


def repeatable_parameters(dependant: Dependant) -> set[str]:
    """The names of the query parameters that may appear several times, those that are lists."""
    names = {field.alias for field in dependant.query_params if get_origin(field.field_info.annotation) is list}
    return names.union(*(repeatable_parameters(child) for child in dependant.dependencies))


def _narrowed(dependant: Dependant, names: frozenset[str]) -> Dependant:
    """`dependant` without the optional query parameters that are not among `names`: the functions that take them have
    the same defaults."""
    return replace(
        dependant,
        query_params=[
            field for field in dependant.query_params if field.alias in names or field.field_info.is_required()
        ],
        dependencies=[_narrowed(child, names) for child in dependant.dependencies],
    )


def _returns_response(dependant: Dependant) -> bool:
    """Whether the endpoint makes its response itself."""
    returned = signature(dependant.call).return_annotation if dependant.call else None
    return isinstance(returned, type) and issubclass(returned, Response)


def _is_plain(dependant: Dependant) -> bool:
    """Whether an endpoint or a dependency is a coroutine function that takes nothing but the request, parameters of its
    path and query, and other such dependencies."""
    call = dependant.call
    is_coroutine = iscoroutinefunction(call) or iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004
    other = any(getattr(dependant, name) != _DEFAULTS[name] for name in _DEFAULTS.keys() - _PLAIN)
    return is_coroutine and not other and all(map(_is_plain, dependant.dependencies))


def _handler_of(dependant: Dependant) -> Handler:
    """What FastAPI's handler does for an endpoint that is plain and returns its response.

    FastAPI's looks for all other kinds of parameters and dependencies, too, for each of them and in each request: that
    took a tenth of the time of a list.
    """
    endpoint: Callable[..., Coroutine[Any, Any, Response]] | None = dependant.call
    assert endpoint is not None

    async def handle(request: Request) -> Response:
        values, errors = await _solved(dependant, request, {})
        if errors:
            raise RequestValidationError(errors)
        return await endpoint(**values)

    return handle


async def _solved(dependant: Dependant, request: Request, known: dict[Any, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The arguments of a plain endpoint or dependency, and the errors of the parameters; `known` are the results of the
    dependencies so far, which are called once."""
    values: dict[str, Any] = {}
    errors: list[Any] = []
    for needed in dependant.dependencies:
        arguments, found = await _solved(needed, request, known)
        errors += found
        if found:
            continue
        call: Any = needed.call
        if call not in known:
            known[call] = await call(**arguments)
        if needed.name is not None:
            values[needed.name] = known[call]
    given = ((dependant.path_params, request.path_params), (dependant.query_params, request.query_params))
    for parameters, values_of_request in given:
        if parameters:
            arguments, found = request_params_to_args(parameters, values_of_request)
            values |= arguments
            errors += found
    if dependant.request_param_name is not None:
        values[dependant.request_param_name] = request
    return values, errors


class RouteGroup(BaseRoute):
    """The routes of routers with the same prefix, which are only searched for paths with that prefix, and only those
    with as many segments.

    FastAPI searches the routes of included routers whatever the path, once for each level: with seventy routes that
    took a quarter of the time of a short request.
    """

    def __init__(self, *routers: APIRouter) -> None:
        (self._prefix,) = {router.prefix for router in routers}
        self.routes = [route for router in routers for route in router.routes]
        self._by_segments: dict[int, list[BaseRoute]] = {}
        for route in self.routes:
            self._by_segments.setdefault(_segments(route), []).append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        partial: tuple[Match, Scope] = Match.NONE, {}
        path: str = scope["path"]
        if not path.startswith(self._prefix):
            return partial
        for route in self._by_segments.get(path.count("/"), ()):
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                return match, child_scope
            if match is Match.PARTIAL and partial[0] is Match.NONE:
                partial = match, child_scope
        return partial

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].handle(scope, receive, send)


def _segments(route: BaseRoute) -> int:
    """The number of segments of the paths that match. Raises TypeError if it is not always the same."""
    path: str = route.path  # type: ignore[attr-defined]
    if ":path}" in path:
        raise TypeError(f"{path} matches paths of any number of segments")
    return path.count("/")
