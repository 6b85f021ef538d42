"""The families of errors. Features subclass them with a code of their own; web/errors.py converts them to problems.

A code is part of the interface: stable, snake_case, documented by the class's docstring (served at /docs/errors).
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

# In one response; more would help nobody.
MAX_LISTED_ERRORS = 1_000

# Unique constraints, CHECK, foreign keys, exclusion.
_VIOLATIONS = frozenset({"23505", "23514", "23503", "23P01"})
_CONSTRAINT = re.compile(r'constraint "(\w+?)(?:_\d{6,})?"')


@dataclass(frozen=True)
class FieldError:
    """An error in one part of the input; `pointer` is an RFC 6901 JSON pointer into `location`."""

    pointer: str
    code: str
    detail: str
    location: str = "body"


class AppError(Exception):
    """The root of all errors that are reported to the caller."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    # The database constraint for the same rule, or several; its violation is reported as this error.
    constraint: ClassVar[str | tuple[str, ...] | None] = None
    # A docs page with more than the docstring.
    page: ClassVar[str | None] = None
    # Whether the transaction is committed although this error is raised: the error is the request's result.
    is_outcome: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, errors: tuple[FieldError, ...] = (), headers: dict[str, str] | None = None):
        self.detail = detail or self.title
        self.errors = errors
        self.headers = headers or {}
        super().__init__(self.detail)

    @classmethod
    def at(cls, *pointers: str, detail: str = "", location: str = "body") -> Self:
        """The error, and where in the request it is."""
        errors = tuple(FieldError(pointer, cls.code, detail or cls.title, location) for pointer in pointers)
        return cls(detail, errors=errors)

    @classmethod
    def known(cls) -> list[type["AppError"]]:
        """Every error with a code, sorted by it: the catalogue of the docs."""
        found: dict[str, type[AppError]] = {}
        remaining: list[type[Any]] = [AppError]
        while remaining:
            error = remaining.pop()
            remaining.extend(error.__subclasses__())
            if "code" in vars(error):
                found[error.code] = error
        return [found[code] for code in sorted(found)]


def violated(error: object) -> AppError | None:
    """The error for a violated constraint, found by the constraint's name; None if there is none.

    `error` is the driver's exception, or SQLAlchemy's wrapper around it.
    """
    driven: Any = getattr(error, "driver_exception", error)
    name = getattr(driven, "constraint_name", None) or _constraint_in(driven)
    if name is None:
        return None
    return next((known() for known in AppError.known() if _is_of(known, name)), None)


def _is_of(known: type[AppError], constraint: str) -> bool:
    return constraint in known.constraint if isinstance(known.constraint, tuple) else constraint == known.constraint


def _constraint_in(error: object) -> str | None:
    """The name in the message: what another server of a distributed database reports has it only there, with the number
    of a part of the table."""
    is_violation = getattr(error, "sqlstate", None) in _VIOLATIONS
    named = _CONSTRAINT.search(str(error)) if is_violation else None
    return named[1] if named else None


class BadRequest(AppError):
    """The request is malformed."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class Unauthenticated(AppError):
    """No valid access token: none was sent, it has expired, or its session has ended."""

    status = 401
    code = "unauthenticated"
    title = "Authentication required"

    def __init__(self, detail: str = "", **kwargs: Any):
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"}, **kwargs)


class Forbidden(AppError):
    """The caller is not allowed to perform this operation."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class NotFound(AppError):
    """The resource does not exist, or is not visible to the caller."""

    status = 404
    code = "not_found"
    title = "Not found"


class Conflict(AppError):
    """The request conflicts with the current state."""

    status = 409
    code = "conflict"
    title = "Conflict with the current state"


class InvalidTransition(Conflict):
    """The action is not possible in the current status."""

    code = "invalid_transition"
    title = "Not possible in the current status"


class Gone(AppError):
    """What the request refers to is no longer there; `next`, if there is one, is what to use instead."""

    status = 410
    code = "gone"
    title = "Gone"

    def __init__(self, detail: str = "", *, next_position: str | None = None, **kwargs: Any):
        super().__init__(detail, **kwargs)
        self.next = next_position


class PreconditionFailed(AppError):
    """`If-Match` does not name the current version: read the resource again."""

    status = 412
    code = "stale_version"
    title = "Changed since it was read"


class PayloadTooLarge(AppError):
    """The request body exceeds the size limit."""

    status = 413
    code = "payload_too_large"
    title = "Request body too large"
    page = "/docs/limits"


class UnsupportedMediaType(AppError):
    """The operation does not accept the content type of the request body."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class Unprocessable(AppError):
    """The input is invalid; `errors` lists each error with its location."""

    status = 422
    code = "validation_failed"
    title = "Invalid input"


class PreconditionRequired(AppError):
    """`If-Match` is required: send the ETag of the version that was read."""

    status = 428
    code = "if_match_required"
    title = "If-Match is required"


class TooManyRequests(AppError):
    """The rate limit is exhausted; try again after `Retry-After` seconds."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"
    page = "/docs/limits"


class Unavailable(AppError):
    """The database is temporarily unavailable; try again after `Retry-After` seconds."""

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"


class Busy(Unavailable):
    """Other requests hold locks that this one needs. Nothing was changed; try again after `Retry-After` seconds."""

    code = "busy"
    title = "Locked by other requests"


class TookTooLong(Unavailable):
    """A database statement exceeded its time limit. Nothing was changed; narrow the request, or try again after
    `Retry-After` seconds."""

    code = "took_too_long"
    title = "Statement timed out"
