"""The docs pages: all assets are served by the application."""

import re

import httpx
import pytest

from po_api.core.errors import AppError
from support.applications import client_of, new_app

PAGES = ["/docs", "/redoc", "/docs/errors", "/docs/errors/not_found", "/docs/limits"]


def _targets(html: str) -> list[str]:
    return re.findall(r'(?:src|href|spec-url|action)="([^"]+)"', html)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_references_only_its_own_host(client: httpx.AsyncClient, page: str) -> None:
    response = await client.get(page)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "<style" not in response.text
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|javascript:", response.text)
    for target in _targets(response.text):
        assert target.startswith("/")
        assert not target.startswith("//")
        assert (await client.get(target)).status_code == 200


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_may_load_nothing_from_elsewhere(client: httpx.AsyncClient, page: str) -> None:
    policy = (await client.get(page)).headers["Content-Security-Policy"]
    directives = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == directives["connect-src"] == ["'self'"]
    assert directives["frame-ancestors"] == directives["base-uri"] == ["'none'"]
    allowed = {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}
    assert {source for sources in directives.values() for source in sources} <= allowed


async def test_style_sheets_load_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    for name in ("swagger-ui.css", "pages.css"):
        style = (await client.get(f"/docs/assets/{name}")).text
        assert "@import" not in style
        assert [url for url in re.findall(r"url\(['\"]?([^)'\"]+)", style) if not url.startswith("data:")] == []


async def test_scripts_show_no_image_from_elsewhere(client: httpx.AsyncClient) -> None:
    for name in ("swagger-ui-bundle.js", "redoc.standalone.js"):
        script = (await client.get(f"/docs/assets/{name}")).text
        assert re.findall(r'src:"(https?:[^"]+)"', script) == []
        assert "cdn.redoc.ly" not in script


async def test_assets_have_their_types_and_no_others_are_served(client: httpx.AsyncClient) -> None:
    for name, kind in {"swagger-ui-bundle.js": "text/javascript", "pages.css": "text/css"}.items():
        response = await client.get(f"/docs/assets/{name}")
        assert response.headers["content-type"].startswith(kind)
        assert "max-age" in response.headers["Cache-Control"]
    for wrong in ("other.js", "..%2Fdocs.py", "%2e%2e%2f__init__.py"):
        assert (await client.get(f"/docs/assets/{wrong}")).status_code == 404


async def test_every_code_has_its_page(client: httpx.AsyncClient) -> None:
    codes = [error.code for error in AppError.known()]
    assert len(codes) == len(set(codes)) > 40
    everything = (await client.get("/docs/errors")).text
    for error in AppError.known():
        page = await client.get(f"/docs/errors/{error.code}")
        assert page.status_code == 200
        assert f"<code>{error.code}</code></a> · {error.status}" in page.text
        assert f'id="{error.code}"' in everything
        assert error.__doc__
    assert (await client.get("/docs/errors/no_such_code")).status_code == 404


async def test_the_docs_show_the_document(client: httpx.AsyncClient) -> None:
    assert '"/openapi.json"' in (await client.get("/docs/assets/swagger-start.js")).text
    assert 'spec-url="/openapi.json"' in (await client.get("/redoc")).text
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def test_the_limits_are_those_of_the_installation(urls: tuple[str, str]) -> None:
    limits = {"rate_limit_per_user": "77/minute", "rate_limit_sign_in": "7/hour", "max_body_bytes": 5_000_000}
    async with client_of(new_app(urls[1], **limits)) as client:
        page = (await client.get("/docs/limits")).text
        for said in ("77 per 1 minute", "7 per 1 hour", "5,000,000 bytes", "<code>refresh</code>", "100"):
            assert said in page
        for code in ("rate_limited", "payload_too_large"):
            assert 'href="/docs/limits">/docs/limits</a>' in (await client.get(f"/docs/errors/{code}")).text
