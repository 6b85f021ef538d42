"""The route class of the API: conventions that hold for every operation (api.md)."""

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from starlette.exceptions import HTTPException

from po_api.core.errors import BadRequest, FieldError, Unprocessable, UnsupportedMediaType
from po_api.core.permissions import GRANTS, Permission
from po_api.web import compression, etags, idempotency
from po_api.web.bodies import JsonRequest, require_distinct
from po_api.web.errors import from_validation
from po_api.web.fast_path import NarrowingRoute, query_parameters, repeatable_parameters
from po_api.web.forms import FormRequest
from po_api.web.names import Explanations
from po_api.web.openapi import KEY_SCOPE
from po_api.web.rate_limits import RateLimiter
from po_api.web.turns import is_heavy_body, turn
from po_api.web.unit_of_work import in_unit_of_work

PREFIX = "/api/v1"


class UnknownParameter(BadRequest):
    """The operation has no query parameter with this name."""

    code = "unknown_parameter"
    title = "Unknown query parameter"


class RepeatedParameter(BadRequest):
    """A query parameter that has one value appears more than once; only filters with several values may be repeated."""

    code = "duplicate_parameter"
    title = "Query parameter repeated"


_PERMISSION = "x-permission"
_IS_HEAVY = "x-is-heavy"


def requires(permission: Permission, *, is_heavy: bool = False) -> dict[str, Any]:
    """The `openapi_extra` of an operation that requires this permission.

    Heavy operations take more than a few milliseconds of CPU time for documents of many lines: they wait for their turn
    (web/turns.py), as requests with large bodies do.
    """
    return {_PERMISSION: permission, _IS_HEAVY: is_heavy}


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
            self._is_heavy: bool = extra.pop(_IS_HEAVY)
        except KeyError:
            raise TypeError(f"{self.operation_id or path} needs openapi_extra=requires(…)") from None
        scope = GRANTS[self.permission].scope
        self.openapi_extra = extra if scope is None else {**extra, KEY_SCOPE: scope}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler_for = lru_cache(maxsize=256)(self.handler_for)
        known, repeatable = query_parameters(self.dependant), repeatable_parameters(self.dependant)
        media_types = self._media_types()
        body = None if self.body_field is None else self.body_field.field_info.annotation
        is_form = "multipart/form-data" in media_types

        async def respond(request: Request) -> Response:
            try:
                _require_known(request, known, repeatable)
                _require_media_type(request, media_types)
                if is_form:
                    await _require_distinct_fields(request, body)
                handle = handler_for(frozenset(request.query_params))
                if self._waits_for_turn(request):
                    async with turn(request, has_form=is_form):
                        response = await handle(request)
                else:
                    response = await handle(request)
            except idempotency.Replay as replay:
                varies = compression.is_compressible(replay.response, self.permission)
                return await compression.negotiate(request, replay.response) if varies else replay.response
            except RequestValidationError as error:
                await _count(request)
                errors = request.errors_of(error) if isinstance(request, JsonRequest) else error.errors()
                raise from_validation(errors, body) from error
            except (BadRequest, UnsupportedMediaType, Unprocessable, HTTPException):
                await _count(request)
                raise
            return await self._finished(request, response)

        async def handler(request: Request) -> Response:
            if is_form:
                request = FormRequest(request)
            elif media_types:
                request = JsonRequest(request, body)
            return await in_unit_of_work(request, respond)

        return handler

    def _waits_for_turn(self, request: Request) -> bool:
        # Public operations have no user whose turn it could be, and their bodies are short.
        has_large_bodies = self.body_field is not None and self.permission is not Permission.PUBLIC
        return self._is_heavy or (has_large_bodies and is_heavy_body(request))

    async def _finished(self, request: Request, response: Response) -> Response:
        """The response with its ETag, stored for a repetition, and compressed if the client accepts that."""
        varies = compression.is_compressible(response, self.permission)
        response = etags.finish(request, response)
        await idempotency.remember(request, response)
        return await compression.negotiate(request, response) if varies else response

    def _media_types(self) -> frozenset[str]:
        """The media types of the body; empty if the operation has none."""
        if self.body_field is None:
            return frozenset()
        if isinstance(self.body_field.field_info, Form):
            return frozenset({"multipart/form-data"})
        return frozenset(
            {"application/json", *(["application/merge-patch+json"] if "PATCH" in (self.methods or ()) else [])}
        )


def _require_known(request: Request, known: set[str], repeatable: set[str]) -> None:
    """Require query parameters of the operation, each once unless it may be repeated."""
    parameters = request.query_params
    if not parameters:
        return
    if unknown := sorted(parameters.keys() - known):
        explanations = Explanations()
        details = [explanations.of("query parameter", name, lambda: sorted(known)) for name in unknown]
        raise UnknownParameter(errors=tuple(FieldError("", UnknownParameter.code, text, "query") for text in details))
    items = parameters.multi_items()
    if len(items) == len(parameters):
        return
    counts = Counter(name for name, _ in items)
    if repeated := sorted(name for name, count in counts.items() if count > 1 and name not in repeatable):
        code, detail = RepeatedParameter.code, "appears more than once"
        raise RepeatedParameter(errors=tuple(FieldError(f"/{name}", code, detail, "query") for name in repeated))


def _require_media_type(request: Request, media_types: frozenset[str]) -> None:
    """Require a supported Content-Type: FastAPI would parse other bodies as text and report errors of their content."""
    if not media_types:
        return
    headers = request.headers
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and headers.get("content-type", "").partition(";")[0].strip().lower() not in media_types:
        raise UnsupportedMediaType(f"send the body as {' or '.join(sorted(media_types))}")


async def _require_distinct_fields(request: Request, body: Any) -> None:
    form = await request.form()  # kept by the request: FastAPI does not parse it again
    try:
        require_distinct((name for name, _ in form.multi_items()), body)
    except Unprocessable:
        await form.close()
        raise


async def _count(request: Request) -> None:
    """Count a request that was refused before authentication, such as one with invalid JSON, for the address."""
    if getattr(request.state, "rate_limit", None) is None:
        limiter: RateLimiter = request.app.state.rate_limiter
        await limiter.hit_address(request.state, request.client.host if request.client else None)


def api_router(*, prefix: str, **options: Any) -> APIRouter:
    """A feature's router, under the API's prefix."""
    return APIRouter(route_class=ApiRoute, prefix=PREFIX + prefix, **options)
