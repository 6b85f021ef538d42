"""The documentation pages, served from the package without requests to other hosts."""

import html
from collections.abc import Iterable, Sequence
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from po_api.core.errors import AppError, NotFound
from po_api.db.pagination import DEFAULT_LIMIT, MAX_LIMIT
from po_api.web.http_protocol import BODY_BYTES, HEAD_BYTES, HEAD_SECONDS, HEADERS, URL_BYTES
from po_api.web.rate_limits import RateLimiter

router = APIRouter(include_in_schema=False)

_STATIC = files("fastapi_offline") / "static"
_SWAGGER_START = """
SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true, persistAuthorization: true,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
"""
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
code { background: #f2f2f2; padding: 0 .3em; } dt { margin-top: 1rem; } a { color: #0550ae; }
table { border-collapse: collapse; } td { padding: .2em 1em .2em 0; border-bottom: 1px solid #ddd; }
"""
_LIMITS = """
<h2>Requests</h2>{rates}
<p>The response header <code>RateLimit-Policy</code> names the limit that was applied; <code>RateLimit</code> has the
remaining requests (<code>r</code>) and the seconds until reset (<code>t</code>). Requests beyond a limit get the status
429 with the seconds to wait in <code>Retry-After</code>. All IPv6 addresses of a /64 network count as one address.
Health checks are exempt.</p>
<h2>Sizes</h2>{sizes}
"""
_OWN = {"swagger-start.js": _SWAGGER_START, "pages.css": _STYLE}
# Redoc loads its logo from there, and omits an image that it cannot load.
_FOREIGN_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_BUNDLED = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "redoc.standalone.js"})

# The bundles add styles at run time and start workers from blobs; everything is loaded from this host.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def _page(title: str, body: str) -> Response:
    content = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    content += f'<meta name="viewport" content="width=device-width">{body}</html>'
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": _CSP})


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    return _page(
        request.app.title,
        '<link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head><body><div id="docs"></div>'
        '<script src="/docs/assets/swagger-ui-bundle.js"></script>'
        '<script src="/docs/assets/swagger-start.js"></script></body>',
    )


@router.get("/redoc")
async def get_redoc(request: Request) -> Response:
    return _page(
        request.app.title,
        '</head><body><redoc spec-url="/openapi.json"></redoc>'
        '<script src="/docs/assets/redoc.standalone.js"></script></body>',
    )


@router.get("/docs/assets/{name}")
async def get_asset(name: str) -> Response:
    if name not in _BUNDLED | _OWN.keys():
        raise NotFound
    content = (
        (_STATIC / name).read_bytes().replace(_FOREIGN_LOGO, b"data:,") if name in _BUNDLED else _OWN[name].encode()
    )
    media_type = "text/css" if name.endswith(".css") else "text/javascript"
    return Response(content, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"})


def _text_page(title: str, content: str) -> Response:
    """A page of text, with links to the others."""
    return _page(
        title,
        '<link rel="stylesheet" href="/docs/assets/pages.css"></head>'
        f"<body><h1>{html.escape(title)}</h1>{content}"
        '<p><a href="/docs">API</a> · <a href="/docs/errors">Problems</a> · <a href="/docs/limits">Limits</a></p>'
        "</body>",
    )


def _entry(error: type[AppError]) -> str:
    explanation = html.escape(" ".join((error.__doc__ or error.title).split()))
    code = html.escape(error.code)
    more = "" if error.page is None else f' See <a href="{error.page}">{error.page}</a>.'
    return (
        f'<dt id="{code}"><a href="/docs/errors/{code}"><code>{code}</code></a> · {error.status}</dt>'
        f"<dd>{explanation}{more}</dd>"
    )


@router.get("/docs/errors")
async def get_errors() -> Response:
    return _text_page("Problems", f"<dl>{''.join(map(_entry, AppError.known()))}</dl>")


@router.get("/docs/errors/{code}")
async def get_error(code: str) -> Response:
    found = [error for error in AppError.known() if error.code == code]
    if not found:
        raise NotFound
    return _text_page(found[0].title, f"<dl>{_entry(found[0])}</dl>")


@router.get("/docs/limits")
async def get_limits(request: Request) -> Response:
    """The limits of this installation, from its settings."""
    limiter: RateLimiter = request.app.state.rate_limiter
    rows = [
        (f"<code>{policy.name}</code>", html.escape(policy.counts), html.escape(str(policy.item))) for policy in limiter
    ]
    sizes = [
        ("Request body, including uploaded files", f"{request.app.state.max_body_bytes:,} bytes"),
        ("URL", f"{URL_BYTES:,} bytes"),
        ("Header fields", f"{HEADERS}, together with the URL {HEAD_BYTES:,} bytes"),
        ("Time for the header fields", f"{HEAD_SECONDS} seconds"),
        ("Rate of a request body", f"at least {BODY_BYTES:,} bytes in {HEAD_SECONDS} seconds"),
        ("Items per page", f"{MAX_LIMIT}, {DEFAULT_LIMIT} by default (<code>limit</code>)"),
    ]
    return _text_page("Limits", _LIMITS.format(rates=_table(rows), sizes=_table(sizes)))


def _table(rows: Iterable[Sequence[str]]) -> str:
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
