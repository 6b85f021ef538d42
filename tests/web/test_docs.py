"""The docs pages: all assets are served by the application."""

import ast
import re
from pathlib import Path

import httpx
import pytest

from po_api.core.errors import AppError
from po_api.web.field_codes import FIELD_CODES
from support.applications import canary_answers, client_of, new_app
from support.organisations import TestOrganisation

SOURCE = Path(__file__).parents[2] / "src"
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
    assert '"/docs/openapi.json"' in (await client.get("/docs/assets/swagger-start.js")).text
    assert 'spec-url="/docs/openapi.json"' in (await client.get("/redoc")).text
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def test_the_limits_are_those_of_the_installation(urls: tuple[str, str]) -> None:
    limits = {"rate_limit_per_user": "77/minute", "rate_limit_sign_in": "7/hour", "max_body_bytes": 5_000_000}
    async with client_of(new_app(urls[1], **limits)) as client:
        page = (await client.get("/docs/limits")).text
        for said in ("77 per 1 minute", "7 per 1 hour", "5,000,000 bytes", "<code>refresh</code>", "100"):
            assert said in page
        for code in ("rate_limited", "payload_too_large"):
            assert 'href="/docs/limits">/docs/limits</a>' in (await client.get(f"/docs/errors/{code}")).text


async def test_the_pages_show_what_is_particular_to_each_operation(client: httpx.AsyncClient) -> None:
    whole = (await client.get("/openapi.json")).json()
    shown = (await client.get("/docs/openapi.json")).json()
    assert [tag["name"] for tag in shown["tags"]][:2] == ["porfs", "purchase orders"]
    assert set(shown["paths"]["/api/v1/porfs/{porf_id}/submit"]["post"]["responses"]) == {
        "200",
        "404",
        "409",
        "412",
        "428",
    }
    for status in ("400", "401", "403", "413", "415", "422", "429", "500", "503"):
        assert shown["info"]["description"].count(f"\n- {status} ") == 1
        assert status in whole["paths"]["/api/v1/porfs"]["post"]["responses"]
    assert set(shown["components"]["securitySchemes"]) == {"accessToken"}
    form = shown["components"]["schemas"]["ImportPorfBody"]
    assert {name for name, field in form["properties"].items() if field.get("examples") == [""]} == (
        form["properties"].keys() - set(form["required"])
    )


async def test_the_root_leads_to_the_docs_and_has_an_icon(client: httpx.AsyncClient) -> None:
    root = await client.get("/")
    assert (root.status_code, root.headers["Location"]) == (307, "/docs")
    icon = await client.get("/favicon.ico")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")


async def test_texts_of_errors_are_rendered(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs/errors")).text
    assert "`" not in page
    assert "<code>If-Match</code> is required" in page


# Where calls of these have a field's code. `add` is that of an import's errors.
_PLACES = {
    "FieldError": 1,
    "PydanticCustomError": 0,
    "BadCell": 0,
    "BadWorkbookCell": 0,
    "InvalidFile": 0,
    "_Kind": 0,
    "add": 2,
}


def _codes_of_fields() -> set[str]:
    """The literal codes with which the source makes errors of fields."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                code = _PLACES.get(name)
                if code is not None and len(node.args) > code and isinstance(part := node.args[code], ast.Constant):
                    found.add(str(part.value))
    return found


@pytest.mark.heavy
def test_every_code_of_a_field_is_explained() -> None:
    assert _codes_of_fields() <= FIELD_CODES.keys() | {error.code for error in AppError.known()}


async def test_codes_of_fields_have_their_entries(client: httpx.AsyncClient, organisation: TestOrganisation) -> None:
    page = (await client.get("/docs/errors")).text
    for code in FIELD_CODES:
        assert f'<dt id="field-{code}"><code>{code}</code></dt>' in page
    known = FIELD_CODES.keys() | {error.code for error in AppError.known()}
    for answer in await canary_answers(organisation.admin):
        assert {item["code"] for item in answer.json().get("errors", ())} <= known
