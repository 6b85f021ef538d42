"""The families of errors. Features subclass them with a code of their own; web/errors.py makes problems of them.

A code is part of the interface: stable, snake_case, documented by the class's docstring (served at /docs/errors).
"""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one part of the input; `pointer` is an RFC 6901 JSON pointer into `location`."""

    pointer: str
    code: str
    detail: str
    location: str = "body"


class AppError(Exception):
    """The root of the errors that a caller is told about."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    # The database constraint that says the same: whoever hits it in spite of all care is told this.
    constraint: ClassVar[str | None] = None
    # The page of the docs that says more than the docstring.
    page: ClassVar[str | None] = None
    # Whether what was written before the error is kept: it is itself what the request came to.
    is_outcome: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, errors: tuple[FieldError, ...] = (), headers: dict[str, str] | None = None):
        self.detail = detail or self.title
        self.errors = errors
        self.headers = headers or {}
        super().__init__(self.detail)

    @classmethod
    def known(cls) -> list[type["AppError"]]:
        """Every error with a code, sorted by it: the catalogue of the docs."""
        found: dict[str, type[AppError]] = {}
        waiting: list[type[Any]] = [AppError]
        while waiting:
            error = waiting.pop()
            waiting.extend(error.__subclasses__())
            if "code" in vars(error):
                found[error.code] = error
        return [found[code] for code in sorted(found)]


def violated(error: object) -> AppError | None:
    """What an error of the driver, or of SQLAlchemy's layer above it, says of a known constraint, by its name."""
    name = getattr(getattr(error, "driver_exception", error), "constraint_name", None)
    if name is None:
        return None
    return next((known() for known in AppError.known() if known.constraint == name), None)


class BadRequest(AppError):
    """The request cannot be understood as it stands."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class Unauthenticated(AppError):
    """There is no valid access token: none was sent, it expired, or its session has ended."""

    status = 401
    code = "unauthenticated"
    title = "Sign in first"

    def __init__(self, detail: str = "", **kwargs: Any):
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"}, **kwargs)


class Forbidden(AppError):
    """The caller may not do this."""

    status = 403
    code = "forbidden"
    title = "You may not do this"


class NotFound(AppError):
    """There is no such thing, or none that the caller may see."""

    status = 404
    code = "not_found"
    title = "Not found"


class Conflict(AppError):
    """The request contradicts the present state."""

    status = 409
    code = "conflict"
    title = "Conflicts with the present state"


class InvalidTransition(Conflict):
    """The action is not possible in the present status."""

    code = "invalid_transition"
    title = "Not possible in the present status"


class PreconditionFailed(AppError):
    """`If-Match` names another version than the present one: read it again, then decide."""

    status = 412
    code = "stale_version"
    title = "It has changed since you read it"


class PayloadTooLarge(AppError):
    """The body is larger than the limit."""

    status = 413
    code = "payload_too_large"
    title = "The body is too large"
    page = "/docs/limits"


class UnsupportedMediaType(AppError):
    """The body's content type is not one that this operation takes."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class Unprocessable(AppError):
    """The input is not valid; `errors` says where and why."""

    status = 422
    code = "validation_failed"
    title = "The input is not valid"


class PreconditionRequired(AppError):
    """`If-Match` is required: send the ETag of the version you read."""

    status = 428
    code = "if_match_required"
    title = "If-Match is required"


class TooManyRequests(AppError):
    """The rate limit is used up; try again after `Retry-After` seconds."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"
    page = "/docs/limits"


class Unavailable(AppError):
    """The database cannot be reached just now; try again after `Retry-After` seconds."""

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"


class Busy(Unavailable):
    """Other requests hold what this one needs, for longer than it may wait. Nothing was changed; try again after
    `Retry-After` seconds."""

    code = "busy"
    title = "Others are at work on this"


class TookTooLong(Unavailable):
    """The database did not finish within the time that a statement may take. Nothing was changed; ask for less, or try
    again after `Retry-After` seconds."""

    code = "took_too_long"
    title = "It took too long"
