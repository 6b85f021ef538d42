"""The page at which a supplier reads an order: one document with a script of its own, without anything of an order."""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from po_api.core.errors import NotFound
from po_api.web.compression import StaticFile

router = APIRouter(include_in_schema=False)

_PAGE = files("po_api.deliveries") / "page"
_ASSETS = {"page.js": "text/javascript", "page.css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Robots-Tag": "noindex",
}


@cache
def _file(name: str, media_type: str) -> StaticFile:
    return StaticFile((_PAGE / name).read_bytes(), media_type)


@router.get("/supplier")
async def get_page(request: Request) -> Response:
    response = await _file("page.html", "text/html; charset=utf-8").respond(request, "no-store")
    response.headers.update(_HEADERS)
    return response


@router.get("/supplier/{name}")
async def get_asset(request: Request, name: str) -> Response:
    if name not in _ASSETS:
        raise NotFound
    return await _file(name, _ASSETS[name]).respond(request, "no-cache")
