"""The route class of the API: conventions that hold for every operation (api.md)."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from po_api.core.errors import BadRequest, FieldError
from po_api.web import etags, idempotency


class UnknownParameter(BadRequest):
    """The operation has no such query parameter."""

    code = "unknown_parameter"
    title = "There is no such query parameter"


class ApiRoute(APIRoute):
    """Refuses unknown query parameters, completes ETags, replays and remembers idempotent answers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = _query_parameters(self.dependant)

        async def handler(request: Request) -> Response:
            unknown = sorted(set(request.query_params) - known)
            if unknown:
                raise UnknownParameter(
                    errors=tuple(
                        # The name is the caller's own text: it is counted, not repeated.
                        FieldError("", UnknownParameter.code, UnknownParameter.title, "query")
                        for _ in unknown
                    )
                )
            try:
                response = await handle(request)
            except idempotency.Replay as replay:
                return replay.response
            response = etags.finish(request, response)
            await idempotency.remember(request, response)
            return response

        return handler


def _query_parameters(dependant: Dependant) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_query_parameters(child) for child in dependant.dependencies))


def api_router(**options: Any) -> APIRouter:
    """A feature's router."""
    return APIRouter(route_class=ApiRoute, **options)
