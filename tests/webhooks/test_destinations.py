"""Where webhooks may be sent to: URLs, addresses, and names that stand for something else a moment later."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.clock import utc_now
from po_api.webhooks.domain import SendingError
from po_api.webhooks.networks import Destinations
from po_api.webhooks.sending import NotSent, Resolve, Sender
from support.webhooks import Receiver, answering, receiving
from support.workers import LOCAL

PUBLIC = Destinations()


@pytest.mark.parametrize(
    "address",
    """
    0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1
    192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1
    2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 fc00::1 fd00:ec2::254
    fe80::1 fe80::1%eth0 fec0::1 ff02::1 ::127.0.0.1 5f00::1
    """.split(),
)
def test_special_addresses_are_refused(address: str) -> None:
    assert not PUBLIC.permits(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "2a00:1450::8a"])
def test_public_addresses_are_permitted(address: str) -> None:
    assert PUBLIC.permits(ip_address(address))


@given(st.ip_addresses(v=4))
def test_no_permitted_address_is_private_to_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    if PUBLIC.permits(address):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=6))
def test_no_permitted_ipv6_address_has_an_ipv4_address_inside(address: IPv6Address) -> None:
    if PUBLIC.permits(address):
        assert (address.ipv4_mapped, address.sixtofour, address.teredo) == (None, None, None)
        assert not (address.is_private or address.is_loopback or address.is_link_local or address.is_multicast)


def test_networks_of_ones_own_are_permitted() -> None:
    destinations = Destinations.of(["10.1.0.0/16", "fd00::/8"])
    assert destinations.permits(ip_address("10.1.2.3"))
    assert destinations.permits(ip_address("fd12::1"))
    assert not destinations.permits(ip_address("10.2.0.1"))
    assert not destinations.permits(ip_address("::ffff:10.1.2.3"))
    assert destinations.checked_url("https://10.1.2.3/hook") == "https://10.1.2.3/hook"


@pytest.mark.parametrize(
    "url",
    [
        "http://erp.example/hook",
        "http://127.0.0.1/hook",
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://user:secret@erp.example/",
        "https://erp.example@127.0.0.1/",
        "https://erp.example/#fragment",
        "https://erp.example/a b",
        "https://erp.example/?a b",
        "https://erp.example/?a\nb",
        "https://erp.example\\@127.0.0.1/",
        "https:///hook",
        "https://",
        "ftp://erp.example/",
        "file:///etc/passwd",
        "//erp.example/",
        "erp.example",
        "https://müller.example/",
        "https://erp.example:0/",
        "https://erp.example/" + "x" * 2000,
        "",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        PUBLIC.checked_url(url)


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://ERP.example", "https://erp.example/"),
        ("https://erp.example:443/hook?token=a%20b&c=d", "https://erp.example/hook?token=a%20b&c=d"),
        ("https://erp.example:8443/Hook", "https://erp.example:8443/Hook"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
    ],
)
def test_urls_have_one_spelling(url: str, stored: str) -> None:
    assert PUBLIC.checked_url(url) == stored


def test_http_is_for_this_machine_where_it_is_allowed() -> None:
    assert LOCAL.checked_url("http://127.0.0.1:8080/hook") == "http://127.0.0.1:8080/hook"
    assert LOCAL.checked_url("http://localhost/hook") == "http://localhost/hook"
    for url in ("http://8.8.8.8/", "http://erp.example/", "http://localhost.example/"):
        with pytest.raises(ValueError, match="https"):
            LOCAL.checked_url(url)


def names(*answers: Sequence[str] | OSError) -> tuple[Resolve, list[str]]:
    """A resolver with one answer after the other, of which the last is repeated; and the names it was asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        if isinstance(answer, OSError):
            raise answer
        return answer

    return resolve, asked


async def error_of(sender: Sender, url: str) -> SendingError:
    with pytest.raises(NotSent) as raised:
        await sender.post(url, {}, b"{}")
    return raised.value.error


async def test_a_name_that_changes_to_a_private_address_is_never_connected(receiver: Receiver) -> None:
    """DNS rebinding: each attempt uses the address that was checked for it."""
    # 240.0.0.1 is allowed here, and nothing is there: on this machine there is no route to it.
    destinations = Destinations.of(["240.0.0.1/32"])
    resolve, asked = names(["240.0.0.1"], ["127.0.0.1"])
    sender = Sender(destinations, resolve=resolve, seconds=0.5)
    url = f"http://rebound.example:{receiver.port}/hook"
    assert await error_of(sender, url) in {SendingError.CONNECTION_FAILED, SendingError.TIMED_OUT}
    for _ in range(20):
        assert await error_of(sender, url) is SendingError.FORBIDDEN_ADDRESS
    assert asked == ["rebound.example"] * 21
    assert receiver.connections == 0


async def test_of_several_addresses_only_permitted_ones_are_connected(receiver: Receiver) -> None:
    resolve, asked = names(["10.0.0.1", "::1", "127.0.0.1", "192.168.0.1"])
    sender = Sender(Destinations.of(["127.0.0.1/32"]), resolve=resolve)
    answer = await sender.post(f"http://several.example:{receiver.port}/hook", {"webhook-id": "msg_1"}, b"{}")
    assert (answer.status, asked) == (204, ["several.example"])
    assert receiver.received[0].headers["host"] == f"several.example:{receiver.port}"


async def test_a_redirect_to_a_private_address_is_not_followed(receiver: Receiver) -> None:
    receiver.usual = answering(307, f"Location: {receiver.url}/inside")
    answer = await Sender(LOCAL).post(receiver.url, {}, b"{}")
    assert (answer.status, len(receiver.received)) == (307, 1)


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await Sender(LOCAL).post(receiver.url, {}, b"{}")).status == 204


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (OSError("no such name"), SendingError.NAME_NOT_RESOLVED),
        ([], SendingError.NAME_NOT_RESOLVED),
        (["10.0.0.1"], SendingError.FORBIDDEN_ADDRESS),
    ],
)
async def test_names_without_a_permitted_address(answer: Sequence[str] | OSError, error: SendingError) -> None:
    resolve, _ = names(answer)
    assert await error_of(Sender(PUBLIC, resolve=resolve), "https://erp.example/") is error


async def test_the_resolver_of_the_system_is_used_by_default(receiver: Receiver) -> None:
    assert (await Sender(LOCAL).post(f"http://localhost:{receiver.port}/", {}, b"{}")).status == 204
    assert await error_of(Sender(PUBLIC), "https://localhost/") is SendingError.FORBIDDEN_ADDRESS


async def test_a_name_that_is_not_resolved_in_time_ends_the_attempt() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    assert await error_of(Sender(PUBLIC, resolve=never, seconds=0.1), "https://erp.example/") is SendingError.TIMED_OUT


def self_signed(directory: Path) -> ssl.SSLContext:
    """A server's context with a certificate for 127.0.0.1 that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now, alternatives = utc_now(), x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_password)
    path.write_bytes(private + certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_the_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(self_signed(tmp_path)) as receiver:
        url = receiver.url.replace("http:", "https:")
        assert await error_of(Sender(LOCAL), url) is SendingError.TLS_FAILED
        assert receiver.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
        assert (await Sender(LOCAL).post(url, {"webhook-id": "msg_1"}, b"{}")).status == 204
        assert receiver.ids == ["msg_1"]
        # The certificate has to be that of the name, whatever address it stands for.
        resolve, _ = names(["127.0.0.1"])
        other = url.replace("127.0.0.1", "erp.example")
        assert await error_of(Sender(LOCAL, resolve=resolve), other) is SendingError.TLS_FAILED


async def test_where_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        assert await error_of(Sender(LOCAL), url) is SendingError.CONNECTION_FAILED
