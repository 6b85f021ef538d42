"""deploy/nginx/po-api.conf, run by nginx: compression, ETags that it weakens, the client's address, TLS."""

import datetime as dt
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.applications import new_app, serving
from support.organisations import Member, TestOrganisation, created, ok, refused
from support.polling import Deadline
from support.server_processes import free_port

pytestmark = pytest.mark.heavy

SITE = Path(__file__).parents[2] / "deploy" / "nginx" / "po-api.conf"
HOST = "po.example.com"
# Without the privileges of the distribution's nginx.conf; the site is included as there.
MAIN = """
pid {place}/pid;
error_log {place}/error.log;
daemon off;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    include {place}/site.conf;
}}
"""


def _certificate(place: Path) -> tuple[Path, Path]:
    """The files of a certificate for HOST, signed by itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = place / "certificate.pem", place / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture
def proxy(urls: tuple[str, str], tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of nginx with the site, before an application, and the certificate that it has."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("no nginx is installed")
    certificate, key = _certificate(tmp_path)
    ports = {name: free_port() for name in ("http", "https")}
    with serving(new_app(urls[1], trusted_proxies="127.0.0.1", max_body_bytes=2000)) as address:
        site = SITE.read_text()
        for own, test in {
            "127.0.0.1:8000": address.removeprefix("http://"),
            "listen 80;": f"listen 127.0.0.1:{ports['http']};",
            "listen 443 ssl": f"listen 127.0.0.1:{ports['https']} ssl",
            "/etc/ssl/certs/po.example.com.pem": str(certificate),
            "/etc/ssl/private/po.example.com.key": str(key),
        }.items():
            assert site.count(own) == 1
            site = site.replace(own, test)
        (tmp_path / "site.conf").write_text(site)
        is_root = Path("/proc/self").stat().st_uid == 0
        (tmp_path / "nginx.conf").write_text(MAIN.format(place=tmp_path, user="user root;" if is_root else ""))
        command = [program, "-e", f"{tmp_path}/error.log", "-p", str(tmp_path), "-c", f"{tmp_path}/nginx.conf"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            deadline = Deadline("nginx that answers")
            while not _answers(ports["http"]):
                deadline.check()
                assert process.poll() is None, (tmp_path / "error.log").read_text()
            yield f"https://{HOST}:{ports['https']}", certificate
        finally:
            process.terminate()
            process.communicate()


def _answers(port: int) -> bool:
    try:
        moved = httpx.get(f"http://127.0.0.1:{port}/x?y=1", headers={"Host": HOST})
    except httpx.TransportError:
        return False
    assert (moved.status_code, moved.headers["Location"]) == (308, f"https://{HOST}/x?y=1")
    return True


def _client(proxy: tuple[str, Path], **headers: str) -> httpx.AsyncClient:
    """A client of the proxy; its name leads to this machine."""
    address, certificate = proxy
    trust = ssl.create_default_context(cafile=str(certificate))
    local = address.replace(HOST, "127.0.0.1")
    client = httpx.AsyncClient(base_url=local, verify=trust, headers={"Host": HOST} | headers)

    async def name(request: httpx.Request) -> None:
        request.extensions["sni_hostname"] = HOST

    client.event_hooks["request"] = [name]
    return client


def _through(client: httpx.AsyncClient, member: Member) -> Member:
    return replace(member, client=client)


async def test_a_weakened_etag_is_that_of_its_version(proxy: tuple[str, Path], organisation: TestOrganisation) -> None:
    draft = await organisation.draft(justification="x" * 2000)
    path = f"/porfs/{draft.json()['id']}"
    plain = await ok(organisation.requester.get(path, headers={"Accept-Encoding": "identity"}))
    async with _client(proxy, **{"Accept-Encoding": "gzip"}) as client:
        requester = _through(client, organisation.requester)
        read = await ok(requester.get(path))
        etag = read.headers["ETag"]
        assert (read.headers["Content-Encoding"], etag) == ("gzip", f"W/{plain.headers['ETag']}")
        await ok(requester.get(path, headers={"If-None-Match": etag}), 304)
        changed = await ok(requester.patch(path, etag=etag, json={"title": "Other lamps"}))
        assert changed.headers["ETag"].startswith('W/"2-')
        stale = await refused(requester.patch(path, etag=etag, json={"title": "x"}), 412, "stale_version")
        assert stale["detail"] == "the current version is 2"
        await ok(requester.post(f"{path}/submit", etag=changed.headers["ETag"]))


async def test_responses_with_secrets_are_not_compressed(
    proxy: tuple[str, Path], organisation: TestOrganisation
) -> None:
    async with _client(proxy, **{"Accept-Encoding": "gzip", "X-Forwarded-For": "192.0.2.77"}) as client:
        admin = _through(client, organisation.admin)
        own = await ok(admin.get("/sessions/current"))
        # The address is nginx's, whatever the client sends; the API knows of TLS.
        assert own.json()["ip_address"] == "127.0.0.1"
        assert "max-age" in own.headers["Strict-Transport-Security"]
        key = await created(admin.post("/api-keys", json={"name": "x" * 100, "scopes": ["porfs:read"]}))
        for response in (own, key, await ok(admin.get("/api-keys?limit=100"))):
            assert "Content-Encoding" not in response.headers


async def test_a_body_that_is_too_large_is_a_problem_of_the_api(
    proxy: tuple[str, Path], organisation: TestOrganisation
) -> None:
    async with _client(proxy) as client:
        requester = _through(client, organisation.requester)
        await refused(requester.post("/porfs", json={"title": "x" * 3000}), 413, "payload_too_large")
