"""Sessions in cookies, for front ends on the API's own site; never across sites (security.md).

Three things keep other sites out, each by itself: SameSite, what the browser says of where a request comes from
(Fetch Metadata, Origin), and a header that no page of another origin can send without being allowed to by CORS.
"""

from datetime import timedelta

from fastapi import Request, Response
from fastapi.security import APIKeyCookie

from po_api.core.errors import Forbidden

# The prefix makes browsers insist on Secure, on Path=/ and on this very host.
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


def set_cookie(response: Response, name: str, value: str, lifetime: timedelta) -> None:
    """A cookie that no script can read and that goes nowhere but here."""
    seconds = int(lifetime.total_seconds())
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def delete_cookies(request: Request, response: Response, *names: str) -> None:
    """Tell the browser to forget those of `names` that it has sent."""
    for name in names:
        if name in request.cookies:
            response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def require_own_site(request: Request) -> None:
    """Raise CrossSiteRequest unless this may be done with cookies."""
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
