"""Access tokens: signed tokens are accepted, manipulated ones are not."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.clock import utc_now
from po_api.core.errors import Unauthenticated
from po_api.sessions import tokens
from po_api.sessions.tokens import AccessToken, digest, sign, verify
from support.organisations import Member, Tenant, ok, refused
from support.polling import wait_until

KEY = "k" * 32
HOUR = timedelta(hours=1)
HEADER = {"alg": "HS256", "typ": "at+jwt"}
DIGESTS = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def _segment(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _forge(header: Any, claims: Any, key: str = KEY) -> str:
    """A token with any header and claims, signed with `key`; not made by jose, which would refuse some of them."""
    signed = f"{_segment(header)}.{_segment(claims)}"
    algorithm = DIGESTS.get(str(header.get("alg")) if isinstance(header, dict) else "", hashlib.sha256)
    return f"{signed}.{_segment(hmac.digest(key.encode(), signed.encode(), algorithm))}"


def _claims(**changes: Any) -> dict[str, Any]:
    """Valid claims with changes; None removes a claim."""
    now = int(utc_now().timestamp())
    claims = {"iss": "po-api", "aud": "po-api", "sub": "7", "sid": "9", "jti": "1", "iat": now, "exp": now + 60}
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def _refused(token: str, key: str = KEY) -> None:
    with pytest.raises(Unauthenticated):
        verify(token, key=key)


def test_what_was_signed_is_read() -> None:
    token = sign(AccessToken(7, 9), key=KEY, issued_at=utc_now(), lifetime=HOUR)
    assert verify(token, key=KEY) == AccessToken(7, 9)


def test_a_forged_token_with_the_right_key_and_claims_would_pass() -> None:
    """The tokens of the attacks below differ from this one in one respect each."""
    assert verify(_forge(HEADER, _claims()), key=KEY) == AccessToken(7, 9)


def test_two_tokens_of_one_session_differ() -> None:
    now = utc_now()
    made = {sign(AccessToken(7, 9), key=KEY, issued_at=now, lifetime=HOUR) for _ in range(10)}
    assert len(made) == 10


@pytest.mark.parametrize("key", ["", "short", "k" * 31])
def test_a_short_key_signs_nothing(key: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sign(AccessToken(7, 9), key=key, issued_at=utc_now(), lifetime=HOUR)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "sid", "iat", "exp"])
def test_a_missing_claim_is_refused(claim: str) -> None:
    _refused(_forge(HEADER, _claims(**{claim: None})))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://accounts.google.com"},
        {"iss": ["po-api", "other"]},
        {"aud": "another-api"},
        {"aud": ""},
        {"aud": []},
        {"sub": ""},
        {"sub": 7},
        {"sub": "seven"},
        {"sid": "nine"},
        {"sid": {}},
        {"exp": "soon"},
        {"exp": 0},
        {"exp": -1},
        {"exp": 1e999},
        {"iat": "now"},
        {"iat": 1e999},
        {"nbf": 32503680000},
    ],
    ids=str,
)
def test_a_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    _refused(_forge(HEADER, _claims(**changes)))


def test_an_expired_token_is_refused() -> None:
    _refused(sign(AccessToken(7, 9), key=KEY, issued_at=utc_now() - 2 * HOUR, lifetime=HOUR))


def test_a_token_that_was_good_expires_all_the_same() -> None:
    expires_at = utc_now() + timedelta(seconds=2)
    token = sign(AccessToken(7, 9), key=KEY, issued_at=utc_now(), lifetime=expires_at - utc_now())
    assert verify(token, key=KEY) == AccessToken(7, 9)
    wait_until(lambda: utc_now() >= expires_at, "the end of the token's time")
    _refused(token)


def test_a_token_from_the_future_is_refused() -> None:
    _refused(sign(AccessToken(7, 9), key=KEY, issued_at=utc_now() + HOUR, lifetime=HOUR))


def test_a_clock_that_is_a_little_ahead_is_forgiven() -> None:
    token = sign(AccessToken(7, 9), key=KEY, issued_at=utc_now() + timedelta(seconds=3), lifetime=HOUR)
    assert verify(token, key=KEY) == AccessToken(7, 9)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256"},
        {"alg": "HS256", "typ": "JWT"},
        {"alg": "HS256", "typ": "AT+JWT"},
        {"alg": "HS256", "typ": None},
        {"alg": "HS384", "typ": "at+jwt"},
        {"alg": "HS512", "typ": "at+jwt"},
        {"alg": "RS256", "typ": "at+jwt"},
        {"alg": "ES256", "typ": "at+jwt"},
        {"alg": "none", "typ": "at+jwt"},
        {"alg": "None", "typ": "at+jwt"},
        {"alg": "", "typ": "at+jwt"},
        {"alg": ["HS256"], "typ": "at+jwt"},
        {"typ": "at+jwt"},
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "crit": []},
        [],
        "HS256",
        None,
    ],
    ids=str,
)
def test_another_header_is_refused(header: Any) -> None:
    _refused(_forge(header, _claims()))


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_without_a_signature_is_refused(algorithm: str) -> None:
    unsigned = f"{_segment({**HEADER, 'alg': algorithm})}.{_segment(_claims())}"
    for token in (f"{unsigned}.", unsigned, f"{unsigned}.."):
        _refused(token)


def test_another_key_is_refused() -> None:
    _refused(_forge(HEADER, _claims(), key="l" * 32))
    _refused(_forge(HEADER, _claims(), key=""))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_part_is_refused(part: int) -> None:
    parts = sign(AccessToken(7, 9), key=KEY, issued_at=utc_now(), lifetime=HOUR).split(".")
    parts[part] = ("A" if parts[part][0] != "A" else "B") + parts[part][1:]
    _refused(".".join(parts))


def test_a_token_that_is_too_long_is_refused_before_it_is_read() -> None:
    _refused(_forge(HEADER, _claims(padding="x" * tokens.MAX_LENGTH)))


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_garbage_is_refused(text: str) -> None:
    _refused(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["iss", "aud", "sub", "sid", "iat", "exp", "nbf", "at_hash"]), JSON_VALUES)
def test_any_value_of_a_claim_is_either_read_or_refused(claim: str, value: Any) -> None:
    try:
        found = verify(_forge(HEADER, {**_claims(), claim: value}), key=KEY)
    except Unauthenticated:
        return
    assert isinstance(found, AccessToken)


@given(JSON_VALUES, JSON_VALUES)
def test_signed_garbage_is_refused(header: Any, claims: Any) -> None:
    _refused(_forge(header, claims))
    _refused(_forge(HEADER, claims))


def test_a_digest_does_not_show_the_token() -> None:
    assert digest("abc") == hashlib.sha256(b"abc").hexdigest()


# Through the API


async def _asked(tenant: Tenant, authorization: str | bytes | None) -> httpx.Response:
    headers = [] if authorization is None else [(b"Authorization", authorization)]
    raw = [(name, value.encode() if isinstance(value, str) else value) for name, value in headers]
    return await tenant.client.get("/api/v1/users/me", headers=raw)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer null",
        "Bearer a.b.c",
        "Basic dXNlcjpwYXNz",
        "Token {token}",
        "{token}",
        "Bearer {token} {token}",
        "Bearer {token}, Bearer {token}",
        "Bearer\t{token}",
        "Bearer {token}=",
        "Bearer x{token}",
        "Bearer " + "a" * 9000,
        b"Bearer \xff\xfe",
        "Bearer ..",
        "Bearer é".encode("latin-1"),
    ],
    ids=str,
)
async def test_a_header_without_a_valid_token_is_a_401_problem(tenant: Tenant, header: str | bytes | None) -> None:
    member = await tenant.member()
    given = header.replace("{token}", member.token) if isinstance(header, str) else header
    await refused(_asked(tenant, given), 401, "unauthenticated")
    assert (await _asked(tenant, given)).headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer  "])
async def test_the_authorization_scheme_is_parsed_as_in_http(tenant: Tenant, scheme: str) -> None:
    member = await tenant.member()
    assert (await ok(_asked(tenant, f"{scheme}{member.token}"))).json()["id"] == member.user_id


async def test_two_authorization_headers_are_refused_or_read_as_one(tenant: Tenant) -> None:
    members = [await tenant.member(), await tenant.member()]
    headers = [("Authorization", f"Bearer {member.token}") for member in members]
    response = await tenant.client.get("/api/v1/users/me", headers=headers)
    assert response.status_code in {200, 401}
    assert response.status_code == 401 or response.json()["id"] == members[0].user_id


def _payload(member: Member) -> dict[str, Any]:
    segment = member.token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return claims


async def test_a_token_contains_only_the_required_claims(tenant: Tenant) -> None:
    member = await tenant.member()
    assert _payload(member).keys() == {"iss", "aud", "sub", "sid", "jti", "iat", "exp"}
    header = json.loads(base64.urlsafe_b64decode(member.token.split(".")[0] + "=="))
    assert header == HEADER


async def test_a_token_cannot_be_used_with_another_users_session(tenant: Tenant) -> None:
    member, other = await tenant.member(), await tenant.member()
    forged = _forge(HEADER, {**_payload(member), "sub": str(other.user_id)}, key=tenant.app.state.secret_key)
    await refused(_asked(tenant, f"Bearer {forged}"), 401, "unauthenticated")


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**40])
async def test_ids_that_no_row_can_have_are_refused(tenant: Tenant, number: int) -> None:
    member = await tenant.member()
    for claim in ("sub", "sid"):
        forged = _forge(HEADER, {**_payload(member), claim: str(number)}, key=tenant.app.state.secret_key)
        await refused(_asked(tenant, f"Bearer {forged}"), 401, "unauthenticated")


async def test_bytes_of_any_kind_are_a_401_and_never_a_500(tenant: Tenant) -> None:
    for byte in range(0x21, 0x100):
        if byte != 0x7F:
            response = await _asked(tenant, b"Bearer " + bytes([byte]) * 5)
            assert response.status_code == 401, (byte, response.text)
