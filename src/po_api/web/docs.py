"""The documentation pages, served from the package without requests to other hosts."""

import asyncio
import html
import json
import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from po_api.core.errors import AppError, NotFound
from po_api.core.fair_queue import FairQueue
from po_api.db.pagination import DEFAULT_LIMIT, MAX_LIMIT
from po_api.web.compression import StaticFile
from po_api.web.field_codes import FIELD_CODES
from po_api.web.http_protocol import BODY_BYTES, HEAD_BYTES, HEAD_SECONDS, HEADERS, URL_BYTES
from po_api.web.openapi.display import displayed
from po_api.web.rate_limits import RateLimiter

router = APIRouter(include_in_schema=False)

_STATIC = files("fastapi_offline") / "static"
_SWAGGER_START = """
SwaggerUIBundle({
  url: "/docs/openapi.json", dom_id: "#docs", deepLinking: true, persistAuthorization: true,
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
<h2>Heavy requests</h2>{shares}
<p>Imports, exports, conversions, issues and large bodies wait for their turn in a queue, and so do documents that are
typeset, in a queue of their own. Organisations take turns. Beyond the limits a request gets the status 429
<code>queue_full</code>; one that has waited too long, or finds too many waiting in all, 503 <code>queue_timeout</code>;
both with <code>Retry-After</code>. The work of a client that closes its connection is not done. The limits are those of
one process.</p>
<h2>Sizes</h2>{sizes}
"""
# A document with a mark.
_ICON = """
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0550ae"/>
<path d="M4 2.5h6l2.5 2.5v8.5H4z" fill="#fff"/><path d="M6 9l1.5 1.5L10.5 7" fill="none" stroke="#0550ae"/></svg>
"""
_OWN = {"swagger-start.js": _SWAGGER_START, "pages.css": _STYLE, "icon.svg": _ICON}
_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# Redoc loads its logo from there, and omits an image that it cannot load.
_FOREIGN_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_BUNDLED = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "redoc.standalone.js"})

_CODE = re.compile("`([^`]+)`")
_FIELDS = sorted(FIELD_CODES.items())

# The bundles add styles at run time and start workers from blobs; everything is loaded from this host.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def _page(title: str, body: str) -> Response:
    content = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    content += '<meta name="viewport" content="width=device-width"><link rel="icon" href="/docs/assets/icon.svg">'
    content += f"{body}</html>"
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": _CSP})


@router.get("/")
async def get_root() -> Response:
    return RedirectResponse("/docs")


@router.get("/favicon.ico")
async def get_icon(request: Request) -> Response:
    return await get_asset(request, "icon.svg")


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
        '</head><body><redoc spec-url="/docs/openapi.json"></redoc>'
        '<script src="/docs/assets/redoc.standalone.js"></script></body>',
    )


@router.get("/docs/assets/{name}")
async def get_asset(request: Request, name: str) -> Response:
    if name not in _BUNDLED | _OWN.keys():
        raise NotFound
    asset = await asyncio.to_thread(_asset, name)
    return await asset.respond(request, "public, max-age=3600")


@cache
def _asset(name: str) -> StaticFile:
    content = (
        (_STATIC / name).read_bytes().replace(_FOREIGN_LOGO, b"data:,")
        if name in _BUNDLED
        else _OWN[name].strip().encode()
    )
    return StaticFile(content, _MEDIA_TYPES[name.rpartition(".")[2]])


@router.get("/openapi.json")
async def get_document(request: Request) -> Response:
    return await _document(request.app).respond(request)


@lru_cache(maxsize=1)
def _document(app: FastAPI) -> StaticFile:
    return _json_file(app.openapi())


@router.get("/docs/openapi.json")
async def get_displayed_document(request: Request) -> Response:
    """The OpenAPI document as the pages show it (web/openapi/display.py)."""
    return await _displayed(request.app).respond(request)


@lru_cache(maxsize=1)
def _displayed(app: FastAPI) -> StaticFile:
    return _json_file(displayed(app.openapi()))


def _json_file(document: dict[str, Any]) -> StaticFile:
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return StaticFile(content.encode(), "application/json")


def _text_page(title: str, content: str) -> Response:
    """A page of text, with links to the others."""
    return _page(
        title,
        '<link rel="stylesheet" href="/docs/assets/pages.css"></head>'
        f"<body><h1>{html.escape(title)}</h1>{content}"
        '<p><a href="/docs">API</a> · <a href="/docs/errors">Problems</a> · <a href="/docs/limits">Limits</a></p>'
        "</body>",
    )


def _marked(text: str) -> str:
    """HTML of a text in which backticks mark code, as in the docstrings of errors."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text))


def _entry(error: type[AppError]) -> str:
    explanation = _marked(" ".join((error.__doc__ or error.title).split()))
    code = html.escape(error.code)
    more = "" if error.page is None else f' See <a href="{error.page}">{error.page}</a>.'
    return (
        f'<dt id="{code}"><a href="/docs/errors/{code}"><code>{code}</code></a> · {error.status}</dt>'
        f"<dd>{explanation}{more}</dd>"
    )


@router.get("/docs/errors")
async def get_errors() -> Response:
    fields = (f'<dt id="field-{code}"><code>{code}</code></dt><dd>{_marked(text)}</dd>' for code, text in _FIELDS)
    return _text_page(
        "Problems",
        f"<dl>{''.join(map(_entry, AppError.known()))}</dl>"
        "<h2>Codes of fields</h2><p>In <code>errors</code> of a problem, with a <code>pointer</code> to the field. "
        f"A field may also have one of the codes above.</p><dl>{''.join(fields)}</dl>",
    )


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
    queue: FairQueue = request.app.state.heavy_requests
    of = queue.shares
    shares = [
        ("In progress at once", "user", of.running_per_user),
        ("In progress at once", "organisation", of.running_per_organisation),
        ("Waiting", "user", of.waiting_per_user),
        ("Waiting", "organisation", of.waiting_per_organisation),
        ("Seconds until a waiting request is refused", "", f"{of.seconds:g}"),
    ]
    sizes = [
        ("Request body, including imported files", f"{request.app.state.max_body_bytes:,} bytes"),
        ("Request body of the upload of a file", f"{request.app.state.max_upload_bytes:,} bytes"),
        ("URL", f"{URL_BYTES:,} bytes"),
        ("Header fields", f"{HEADERS}, together with the URL {HEAD_BYTES:,} bytes"),
        ("Time for the header fields", f"{HEAD_SECONDS} seconds"),
        ("Rate of a request body", f"at least {BODY_BYTES:,} bytes in {HEAD_SECONDS} seconds"),
        ("Rows of an exported list", f"{request.app.state.export_max_rows:,}"),
        ("Items per page", f"{MAX_LIMIT}, {DEFAULT_LIMIT} by default (<code>limit</code>)"),
    ]
    return _text_page("Limits", _LIMITS.format(rates=_table(rows), shares=_table(shares), sizes=_table(sizes)))


def _table(rows: Iterable[Sequence[object]]) -> str:
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
