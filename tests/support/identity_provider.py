"""An OpenID Connect provider for the tests: real HTTP, real RS256 keys, and invalid responses on demand."""

import base64
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jose import jwk, jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from po_api.core.clock import utc_now
from support.applications import serving
from support.polling import Deadline

CLIENT_ID = "po-api.tests"
CLIENT_SECRET = "tests-only: a/secret+with=signs"
REDIRECT_URI = "https://api.test/api/v1/sessions/oidc/callback"
_serial = itertools.count(1)


class SigningKey:
    """An RSA key and the id that it is published under."""

    def __init__(self) -> None:
        self.id = f"key-{next(_serial)}"
        self.private: RSAPrivateKey = generate_private_key(65537, 2048)

    @cached_property
    def signer(self) -> Any:
        """The key in jose's form; cached, since OpenSSL takes long to check a key."""
        encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
        pem = self.private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_password).decode()
        return jwk.construct(pem, "RS256")

    def public(self, encoding: serialization.Encoding) -> bytes:
        return self.private.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)

    @cached_property
    def published(self) -> dict[str, Any]:
        key = jwk.construct(self.public(serialization.Encoding.PEM).decode(), "RS256")
        return {**key.to_dict(), "kid": self.id, "use": "sig"}


class Provider:
    """The provider's state; `answers` replaces the response at a path, `claims` are added to its ID tokens."""

    def __init__(self) -> None:
        self.issuer = ""
        self.keys = [SigningKey()]
        self.metadata: dict[str, Any] = {}
        self.answers: dict[str, Response] = {}
        self.hanging: set[str] = set()
        self.claims: dict[str, Any] = {}
        self.requests: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self.user = {"sub": "subject", "email": "somebody@company.example", "name": "Some Body"}

    def reset(self) -> None:
        """Reset invalid responses; keys and issuer are kept."""
        self.metadata, self.claims, self.answers = {}, {}, {}
        self.hanging.clear()
        self.requests.clear()
        self.forms.clear()

    def be(self, email: str, *, sub: str | None = None, name: str = "Some Body") -> None:
        """Set the user of the next sign-ins."""
        self.user = {"sub": sub or f"subject-of-{email}", "email": email, "name": name}

    def rotate(self) -> None:
        """Replace the keys by a new one."""
        self.keys = [SigningKey()]

    def id_token(self, *, key: SigningKey | None = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """An ID token of the current user; claims that are None are omitted."""
        key = key or self.keys[0]
        now = int(utc_now().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "jti": f"token-{next(_serial)}",
            "email_verified": True,
            **self.user,
            **self.claims,
            **changes,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        headers = {"kid": key.id, **(header or {})}
        token: str = jwt.encode(present, key.signer, algorithm="RS256", headers=headers)
        return token

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/jwks", self._jwks),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _faulty(self, request: Request) -> Response | None:
        self.requests[request.url.path] += 1
        if request.url.path in self.hanging:
            deadline = Deadline("a client that gives up")
            while (await request.receive())["type"] != "http.disconnect":
                deadline.check()
        return self.answers.get(request.url.path)

    async def _discovery(self, request: Request) -> Response:
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_response_iss_parameter_supported": True,
        }
        return await self._faulty(request) or JSONResponse(found | self.metadata)

    async def _jwks(self, request: Request) -> Response:
        return await self._faulty(request) or JSONResponse({"keys": [key.published for key in self.keys]})

    async def _authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        assert "openid" in query["scope"]
        code = f"code-{next(_serial)}"
        self._codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.issuer}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer)}", 303)

    async def _token(self, request: Request) -> Response:
        faulty = await self._faulty(request)
        if faulty is not None:
            return faulty
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.forms.append(form)
        asked = self._codes.pop(form["code"], None)
        client = _client(request, form)
        if client != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked is None or asked["redirect_uri"] != form["redirect_uri"] or not _proves(form, asked):
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = self.id_token(**{"nonce": asked["nonce"], **self.claims})
        return JSONResponse({"access_token": "unused", "token_type": "Bearer", "id_token": token})


def _client(request: Request, form: dict[str, str]) -> tuple[str | None, str | None]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme == "Basic":
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
        return unquote(name), unquote(secret)
    return form.get("client_id"), form.get("client_secret")


def _proves(form: dict[str, str], asked: dict[str, str]) -> bool:
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return asked["code_challenge_method"] == "S256" and asked["code_challenge"] == challenge


@contextmanager
def running_provider() -> Iterator[Provider]:
    """The provider at an address of its own."""
    provider = Provider()
    with serving(provider.app()) as address:
        provider.issuer = address
        yield provider


async def authorized(location: str) -> dict[str, str]:
    """Act as the browser at the provider; returns the parameters of the redirect back."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(location)
    assert answer.status_code == 303, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def segment(value: Any) -> str:
    """A part of a JWT."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")
