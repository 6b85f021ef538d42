"""Sessions in cookies, for front ends on the API's own site; never across sites (security.md).

Three independent controls keep other sites out: SameSite, the origin that the browser states (Fetch Metadata, Origin),
and a header that a page of another origin can only send if CORS allows it.
"""

from datetime import timedelta

from fastapi import Request, Response
from fastapi.security import APIKeyCookie

from po_api.core.errors import BadRequest, Forbidden

# With this prefix browsers require Secure, Path=/ and no Domain.
ACCESS_COOKIE = "__Host-po_access"
REFRESH_COOKIE = "__Host-po_refresh"
SIGN_IN_COOKIE = "__Host-po_sign_in"
CSRF_HEADER = "X-CSRF"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "same-site", "none"})


class CrossSiteRequest(Forbidden):
    """Cookies are accepted from the API's own site only; unsafe methods also require the header `X-CSRF: 1`."""

    code = "cross_site_request"
    title = "Cross-site request"


class DuplicateCookie(BadRequest):
    """The request has two cookies of this name: another host or page of the site has set one. Delete the site's
    cookies in the browser, then sign in again."""

    code = "duplicate_cookie"
    title = "Two cookies of one name"


def cookie_of(request: Request, name: str) -> str | None:
    """The value of the request's cookie with exactly this name; None without one. Raises DuplicateCookie for several.

    Not `request.cookies`: it strips all white space of Unicode from the names, removes quotes from the values, and the
    last of several cookies wins. `__Host-` would then be no guarantee: another host of the domain can set a cookie
    whose name is only similar.
    """
    values = _cookies(request, name)
    if len(values) > 1:
        raise DuplicateCookie
    return values[0] if values else None


def _cookies(request: Request, name: str) -> list[str]:
    """The values of all cookies of this name (RFC 6265, 4.2.1, with optional white space, which is SP and HTAB)."""
    values = []
    for header in request.headers.getlist("cookie"):
        for pair in header.split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip(" \t") == name:
                values.append(value.strip(" \t"))
    return values


def set_cookie(response: Response, name: str, value: str, lifetime: timedelta) -> None:
    """A cookie that scripts cannot read and that is sent to this host only."""
    seconds = int(lifetime.total_seconds())
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def delete_cookies(request: Request, response: Response, *names: str) -> None:
    """Delete those of the cookies `names` that the request has."""
    for name in names:
        if _cookies(request, name):
            response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def require_own_site(request: Request) -> None:
    """Raise CrossSiteRequest unless the request may be authenticated by a cookie."""
    headers = request.headers
    if headers.get("sec-fetch-site", "none") not in _OWN_SITE:
        raise CrossSiteRequest
    if request.method in SAFE_METHODS:
        return
    own = f"{request.url.scheme}://{request.url.netloc}"
    if headers.get("origin", own) not in (own, *request.app.state.cors_origins) or headers.get(CSRF_HEADER) != "1":
        raise CrossSiteRequest


access_cookie = APIKeyCookie(
    name=ACCESS_COOKIE,
    auto_error=False,
    scheme_name="accessCookie",
    description="The access token of a session as a cookie; unsafe methods also require the header `X-CSRF: 1`",
)
