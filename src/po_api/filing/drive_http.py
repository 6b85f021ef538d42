"""Requests to Google Drive as a service account, and what each refusal means.

Own code, since Google's client libraries block the event loop, and are several times as large.
"""

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict, Unpack

import httpx

from po_api.core.service_account import ServiceAccount
from po_api.filing.assertions import signed_assertion
from po_api.filing.domain import FilingProblem, NotFiled
from po_api.observability.logging import get_logger

# The folders of organisations are not the account's own, so that narrower scopes do not see them.
SCOPE = "https://www.googleapis.com/auth/drive"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

_TIMEOUT = httpx.Timeout(30, connect=10)
_MAX_BYTES = 256 * 1024
# A token is replaced before it expires.
_MARGIN_SECONDS = 60
_MAX_RETRY_AFTER_SECONDS = 6 * 3600

JsonObject = Mapping[str, Any]
_OK = frozenset({200})

# The reasons of a 403 (Drive API, "Resolve errors"; google.rpc.ErrorInfo). Any other is a lack of rights.
_FORBIDDEN = {
    "rateLimitExceeded": FilingProblem.RATE_LIMITED,
    "userRateLimitExceeded": FilingProblem.RATE_LIMITED,
    "dailyLimitExceeded": FilingProblem.RATE_LIMITED,
    "quotaExceeded": FilingProblem.RATE_LIMITED,
    "RATE_LIMIT_EXCEEDED": FilingProblem.RATE_LIMITED,
    "storageQuotaExceeded": FilingProblem.STORAGE_FULL,
    "teamDriveFileLimitExceeded": FilingProblem.STORAGE_FULL,
    "numChildrenInNonRootLimitExceeded": FilingProblem.STORAGE_FULL,
    "accessNotConfigured": FilingProblem.DRIVE_DISABLED,
    "SERVICE_DISABLED": FilingProblem.DRIVE_DISABLED,
    "insufficientPermissions": FilingProblem.SCOPE_MISSING,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": FilingProblem.SCOPE_MISSING,
}

_log = get_logger(__name__)


class RequestOptions(TypedDict, total=False):
    """Those parts of a request that httpx builds it from."""

    params: Mapping[str, str]
    headers: Mapping[str, str]
    json: JsonObject
    data: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class Answer:
    """A response of Drive; `body` is empty unless it is a JSON object."""

    status: int
    headers: httpx.Headers
    body: JsonObject


class AccessTokens:
    """The access token of a service account, shared by all requests until it expires."""

    def __init__(self, account: ServiceAccount) -> None:
        self._account = account
        self._token: str | None = None
        self._usable_until = 0.0
        self._lock = asyncio.Lock()

    async def current(self, client: httpx.AsyncClient) -> str:
        """Raises NotFiled."""
        async with self._lock:
            if self._token is None or time.monotonic() >= self._usable_until:
                self._token = await self._fetched(client)
            return self._token

    def forget(self, token: str) -> None:
        """Do not use a token again that Drive has refused."""
        if token == self._token:
            self._token = None

    async def _fetched(self, client: httpx.AsyncClient) -> str:
        form = {"grant_type": _GRANT, "assertion": signed_assertion(self._account, scope=SCOPE)}
        answer = await _sent(client, "POST", self._account.token_url, data=form)
        if answer.status in (400, 401, 403):
            # Such as invalid_grant for a deleted key, a deleted account, and a clock that is wrong.
            raise NotFiled(FilingProblem.CREDENTIALS_REFUSED, f"{answer.status} {_text(answer.body.get('error'))}")
        token, seconds = answer.body.get("access_token"), answer.body.get("expires_in")
        if answer.status != httpx.codes.OK or not isinstance(token, str) or not isinstance(seconds, int):
            raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, f"no token: {answer.status}")
        self._usable_until = time.monotonic() + seconds - _MARGIN_SECONDS
        return token


class DriveHttp:
    """Sends requests to Drive with the account's token."""

    def __init__(self, client: httpx.AsyncClient, tokens: AccessTokens) -> None:
        self._client = client
        self._tokens = tokens

    async def request(
        self, method: str, url: str, *, accepted: Collection[int] = _OK, **options: Unpack[RequestOptions]
    ) -> Answer:
        """The response, if its status is one of the accepted ones. Raises NotFiled for any other."""
        answer = await self._authorized(method, url, **options)
        if answer.status in accepted:
            return answer
        raise refusal(answer)

    async def _authorized(self, method: str, url: str, **options: Unpack[RequestOptions]) -> Answer:
        headers = options.get("headers", {})
        for is_last in (False, True):
            token = await self._tokens.current(self._client)
            signed: RequestOptions = {**options, "headers": {**headers, "Authorization": f"Bearer {token}"}}
            answer = await _sent(self._client, method, url, **signed)
            if answer.status != httpx.codes.UNAUTHORIZED or is_last:
                break
            self._tokens.forget(token)
        return answer


def drive_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=_TIMEOUT)


def refusal(answer: Answer) -> NotFiled:
    """What a response means that is no success."""
    status, reason = answer.status, _reason(answer.body)
    detail = f"{status} {reason}".strip()
    match status:
        case 401:
            return NotFiled(FilingProblem.CREDENTIALS_REFUSED, detail)
        case 403:
            problem = _FORBIDDEN.get(reason, FilingProblem.FOLDER_READ_ONLY)
            return NotFiled(problem, detail, after=_retry_after(answer))
        case 404:
            return NotFiled(FilingProblem.FOLDER_NOT_FOUND, detail)
        case 429:
            return NotFiled(FilingProblem.RATE_LIMITED, detail, after=_retry_after(answer))
    if status >= 500 or status == httpx.codes.REQUEST_TIMEOUT:
        return NotFiled(FilingProblem.DRIVE_UNAVAILABLE, detail, after=_retry_after(answer))
    return NotFiled(FilingProblem.DRIVE_REFUSED, detail)


async def _sent(client: httpx.AsyncClient, method: str, url: str, **options: Unpack[RequestOptions]) -> Answer:
    content = b""
    try:
        async with client.stream(method, url, **options) as response:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > _MAX_BYTES:
                    raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, "response is too long")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _log.warning("drive_unavailable", reason=type(error).__name__)
        raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, type(error).__name__) from None
    return Answer(response.status_code, response.headers, _json(content))


def _json(content: bytes) -> JsonObject:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(body: JsonObject) -> str:
    """The reason in the body of an error: of its first error, or else of its details."""
    error = body.get("error")
    if not isinstance(error, dict):
        return _text(error)
    for name in ("errors", "details"):
        listed = error.get(name)
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, dict) and (reason := _text(item.get("reason"))):
                return reason
    return ""


def _text(value: object) -> str:
    """A code of Google's; nothing else is repeated."""
    is_code = isinstance(value, str) and value.isascii() and value.replace("_", "").isalnum() and len(value) <= 80
    return str(value) if is_code else ""


def _retry_after(answer: Answer) -> timedelta | None:
    seconds = answer.headers.get("retry-after", "")
    if not (seconds.isascii() and seconds.isdigit()):
        return None
    return timedelta(seconds=min(int(seconds), _MAX_RETRY_AFTER_SECONDS))
