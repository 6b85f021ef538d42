"""The route class of the API: conventions that hold for every operation (api.md)."""

from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from starlette.exceptions import HTTPException

from po_api.core.errors import BadRequest, FieldError, UnsupportedMediaType
from po_api.core.permissions import GRANTS, Permission
from po_api.web import etags, idempotency
from po_api.web.fast_path import NarrowingRoute, query_parameters
from po_api.web.openapi import KEY_SCOPE
from po_api.web.rate_limits import RateLimiter
from po_api.web.unit_of_work import in_unit_of_work

PREFIX = "/api/v1"


class UnknownParameter(BadRequest):
    """The operation has no query parameter with this name."""

    code = "unknown_parameter"
    title = "Unknown query parameter"


_PERMISSION = "x-permission"


def requires(permission: Permission) -> dict[str, Any]:
    """The `openapi_extra` of an operation that requires this permission."""
    return {_PERMISSION: permission}


class ApiRoute(NarrowingRoute):
    """Runs the unit of work, refuses unknown query parameters and media types, completes ETags, and stores and replays
    the responses of idempotent requests.

    `permission` is that of `requires`; the OpenAPI document shows the scope that an API key needs for it.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        extra = dict(self.openapi_extra or {})
        try:
            self.permission: Permission = extra.pop(_PERMISSION)
        except KeyError:
            raise TypeError(f"{self.operation_id or path} needs openapi_extra=requires(…)") from None
        scope = GRANTS[self.permission].scope
        self.openapi_extra = extra if scope is None else {**extra, KEY_SCOPE: scope}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler_for = lru_cache(maxsize=256)(self.handler_for)
        known = query_parameters(self.dependant)
        media_types = self._media_types()

        async def respond(request: Request) -> Response:
            try:
                _require_known(request, known)
                _require_media_type(request, media_types)
                response = await handler_for(frozenset(request.query_params))(request)
            except idempotency.Replay as replay:
                return replay.response
            except (BadRequest, UnsupportedMediaType, RequestValidationError, HTTPException):
                await _count(request)
                raise
            response = etags.finish(request, response)
            await idempotency.remember(request, response)
            return response

        async def handler(request: Request) -> Response:
            return await in_unit_of_work(request, respond)

        return handler

    def _media_types(self) -> frozenset[str]:
        """The media types of the body; empty if the operation has none."""
        if self.body_field is None:
            return frozenset()
        if isinstance(self.body_field.field_info, Form):
            return frozenset({"multipart/form-data"})
        return frozenset(
            {"application/json", *(["application/merge-patch+json"] if "PATCH" in (self.methods or ()) else [])}
        )


def _require_known(request: Request, known: set[str]) -> None:
    if unknown := request.query_params.keys() - known:
        # The name is text from the request: it is not repeated.
        error = FieldError("", UnknownParameter.code, UnknownParameter.title, "query")
        raise UnknownParameter(errors=(error,) * len(unknown))


def _require_media_type(request: Request, media_types: frozenset[str]) -> None:
    """Require a supported Content-Type: FastAPI would parse other bodies as text and report errors of their content."""
    if not media_types:
        return
    headers = request.headers
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and headers.get("content-type", "").partition(";")[0].strip().lower() not in media_types:
        raise UnsupportedMediaType(f"send the body as {' or '.join(sorted(media_types))}")


async def _count(request: Request) -> None:
    """Count a request that was refused before authentication, such as one with invalid JSON, for the address."""
    if getattr(request.state, "rate_limit", None) is None:
        limiter: RateLimiter = request.app.state.rate_limiter
        await limiter.hit_address(request.state, request.client.host if request.client else None)


def api_router(*, prefix: str, **options: Any) -> APIRouter:
    """A feature's router, under the API's prefix."""
    return APIRouter(route_class=ApiRoute, prefix=PREFIX + prefix, **options)
