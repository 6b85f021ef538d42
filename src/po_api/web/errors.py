"""Maps errors to RFC 9457 problems, without values of the input or internal names."""

import re
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from po_api.core.errors import (
    MAX_LISTED_ERRORS,
    AppError,
    BadRequest,
    Busy,
    Conflict,
    FieldError,
    Gone,
    NotFound,
    PayloadTooLarge,
    TookTooLong,
    Unavailable,
    Unprocessable,
    UnsupportedMediaType,
    violated,
)
from po_api.core.sqlstate import CONNECTION_LOST, DEADLOCK, SERIALISATION_FAILURE, sqlstate_of
from po_api.observability.logging import get_logger
from po_api.web.forms import NO_END
from po_api.web.names import Explanations, fields_at, without_tags
from po_api.web.schemas import FieldProblem, Problem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
_UNREACHABLE = (OperationalError, InterfaceError, PoolTimeoutError, *CONNECTION_LOST)
_PARAMETER = re.compile(r"\{[^}]+\}")
_log = get_logger(__name__)


class MethodNotAllowed(AppError):
    """The resource does not support this method; `Allow` lists the supported ones."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class InvalidForm(BadRequest):
    """The body is not a valid form (`multipart/form-data`, RFC 7578). Most HTTP clients compose one from fields and
    files, with a Content-Type that has its boundary.
    """

    code = "invalid_form"
    title = "Invalid form"


class InternalError(AppError):
    """An unexpected error occurred in the server. Nothing was changed; report the request id to the operator."""

    status = 500
    code = "internal_error"
    title = "Internal server error"


class Duplicate(Conflict):
    """Another resource already has a value that must be unique."""

    code = "already_exists"
    title = "Duplicate value"


_BY_STATUS = {
    error.status: error for error in (BadRequest, NotFound, MethodNotAllowed, PayloadTooLarge, UnsupportedMediaType)
}

# Transient errors of PostgreSQL, by the beginning of their SQLSTATE: conflicts with other transactions (the last is the
# lock time-out); a cancelled statement, which is the statement time-out; lost connections, insufficient resources,
# shutdown and start, errors of the server's system, the idle transaction time-out, and a server that accepts no writes.
_TRANSIENT: dict[str, type[Unavailable]] = {
    SERIALISATION_FAILURE: Busy,
    DEADLOCK: Busy,
    "55P03": Busy,
    "57014": TookTooLong,
    **dict.fromkeys(("08", "53", "57", "58", "25P03", "25P04", "25006"), Unavailable),
}
# What Citus says, without an error code of its own, if it loses the organisation's server, or that does not commit.
_SERVER_LOST = ("failure on connection marked as essential", "could not commit transaction for shard")


def problem_response(request: Request, error: AppError) -> Response:
    """The error as a response."""
    request_id = getattr(request.state, "request_id", "unknown")
    problem = Problem(
        type=f"/docs/errors/{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        instance=f"urn:request:{request_id}",
        code=error.code,
        request_id=request_id,
        errors=[
            FieldProblem(location=item.location, pointer=item.pointer, code=item.code, detail=item.detail)
            for item in error.errors
        ],
        next=error.next if isinstance(error, Gone) else None,
    )
    return Response(problem.model_dump_json(), error.status, error.headers, MEDIA_TYPE)


def from_validation(errors: Sequence[Mapping[str, Any]], body: Any = None) -> AppError:
    """The validation errors of FastAPI and Pydantic, without the values of the input; `body` is the body's type."""
    if any(item["type"] == "json_invalid" for item in errors):
        return _not_json()
    explanations = Explanations()
    found = [_field_error(item, body, explanations) for item in errors[:MAX_LISTED_ERRORS]]
    if more := len(errors) - len(found):
        found.append(FieldError("", "more_errors", f"Errors not listed: {more}", found[-1].location))
    return Unprocessable(errors=tuple(found))


def _not_json() -> AppError:
    return Unprocessable("the body is not valid JSON", errors=(FieldError("", "json_invalid", "not valid JSON"),))


def _field_error(item: Mapping[str, Any], body: Any, explanations: Explanations) -> FieldError:
    location, *place = item["loc"] or ("body",)
    path = without_tags(body, place)
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
    if item["type"] == "extra_forbidden":
        # The name of an unknown field is text from the request.
        detail = explanations.of("field", str(path[-1]), lambda: fields_at(body, path[:-1]))
        return FieldError(pointer.rpartition("/")[0], "unknown_field", detail, str(location))
    code = "string_too_long" if _is_long_text(item) else str(item["type"])
    return FieldError(pointer, code, _detail(code, item), str(location))


# Texts of Pydantic that are written for programmers, by code.
_DETAILS = {
    **dict.fromkeys(("dict_type", "model_attributes_type", "model_type"), "must be a JSON object"),
    "list_type": "must be a JSON array",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be text",
    "timezone_aware": "must have an offset from UTC, as in 2026-12-31T12:00:00Z",
}


def _is_long_text(item: Mapping[str, Any]) -> bool:
    # Pydantic takes a text that a validator has returned for a list.
    return item["type"] == "too_long" and isinstance(item["input"], str)


def _detail(code: str, item: Mapping[str, Any]) -> str:
    if code in _DETAILS:
        return _DETAILS[code].format_map(item.get("ctx", {}))
    message = str(item["msg"])
    # `value_error` and the errors of enumerations quote the expected values, never the input.
    return message[0].lower() + message[1:]


# By a part of the parser's message, which is not repeated: it is written for programmers.
_FORM_ERRORS = {
    NO_END: "the body ends before the form does; send all of it, with the boundary and two hyphens as its last line",
    "boundary": "the Content-Type has no boundary; let the HTTP client set it",
    'field "name"': "a part has no name in its Content-Disposition",
    "maximum size": "a text field is larger than 1 MB; send a file as a part with a file name",
    "maximum number": "there are too many fields or files",
}
_FORM_ERROR = (
    "the body is not valid multipart/form-data; send fields and the file as parts, separated and ended by the boundary"
    " in the Content-Type"
)


def _invalid_form(message: str) -> AppError:
    text = message.lower()
    return InvalidForm(next((detail for part, detail in _FORM_ERRORS.items() if part in text), _FORM_ERROR))


def from_http_exception(error: HTTPException) -> AppError:
    """Starlette's own errors: no route, wrong method, unreadable body."""
    if isinstance(error.__context__, MultiPartException):
        return _invalid_form(error.__context__.message)
    if isinstance(error.__cause__, AppError):
        return error.__cause__  # raised while FastAPI read the body
    if isinstance(error.__cause__, ValueError | RecursionError):
        return _not_json()  # not UTF-8, nested too deeply, or a number with too many digits
    fallback = BadRequest if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else InternalError
    family: type[AppError] = _BY_STATUS.get(error.status_code, fallback)
    return family(headers=dict(error.headers or {}))


def from_database(error: DBAPIError) -> AppError:
    """An error from the database through SQLAlchemy: a constraint violation, a transient error or a bug."""
    return unavailable() if error.connection_invalidated else from_postgres(error.orig or error)


def from_postgres(error: BaseException) -> AppError:
    """An error of PostgreSQL, as asyncpg or SQLAlchemy raises it."""
    sqlstate = sqlstate_of(error)
    known = violated(error)
    if known is not None:
        return known
    if sqlstate == "23505":
        return Duplicate()
    if sqlstate == "22003":
        return Unprocessable("a number exceeds the range that can be stored")
    transient = next((family for prefix, family in _TRANSIENT.items() if sqlstate.startswith(prefix)), None)
    if transient is not None:
        return unavailable(transient)
    if any(message in str(error) for message in _SERVER_LOST):
        return unavailable()
    _log.error("database_error", sqlstate=sqlstate, **_whereabouts(error))
    return InternalError()


def unavailable(family: type[Unavailable] = Unavailable) -> AppError:
    return family(headers={"Retry-After": RETRY_AFTER_SECONDS})


def from_exception(error: Exception) -> AppError:
    """The application error for any exception."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, RequestValidationError):
        return from_validation(error.errors())
    if isinstance(error, HTTPException):
        return from_http_exception(error)
    if isinstance(error, StaleDataError):
        return Conflict("changed by a concurrent request")
    if isinstance(error, DBAPIError) and not isinstance(error, InterfaceError):
        return from_database(error)
    if isinstance(error, asyncpg.PostgresError):
        return from_postgres(error)
    # asyncpg's InterfaceError is a lost connection, unless it is about a statement's arguments.
    is_argument = isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    if isinstance(error, _UNREACHABLE) and not is_argument:
        _log.warning("database_unavailable", error=type(error).__name__)
        return unavailable()
    _log.error("unhandled_error", **_whereabouts(error))
    return InternalError()


def _whereabouts(error: BaseException) -> dict[str, str]:
    """The type and the traceback of an error, for the log. Messages are omitted: they may quote input."""
    kind = type(getattr(error, "orig", None) or error).__name__
    return {"error": kind, "stack": "".join(traceback.format_tb(error.__traceback__))}


def _complete_allow(request: Request, error: AppError) -> None:
    """List all methods of the path in `Allow`: Starlette lists those of the first route with that path."""
    paths = request.app.openapi()["paths"]
    found = [
        methods for path, methods in paths.items() if re.fullmatch(_PARAMETER.sub("[^/]+", path), request.url.path)
    ]
    methods = {method.upper() for method in paths.get(request.url.path) or next(iter(found), {})}
    methods |= {method.strip() for method in error.headers.get("Allow", "").split(",") if method}
    error.headers = {"Allow": ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))}


def add_error_handlers(app: FastAPI) -> None:
    """Respond with problems to these errors. The middleware responds to all others, with a 500 problem."""

    async def handle(request: Request, error: Exception) -> Response:
        problem = from_exception(error)
        if isinstance(problem, MethodNotAllowed):
            _complete_allow(request, problem)
        return problem_response(request, problem)

    database = (asyncpg.PostgresError, DBAPIError, PoolTimeoutError, StaleDataError)
    for family in (AppError, RequestValidationError, HTTPException, *database):
        app.add_exception_handler(family, handle)
