"""Pure rules: signatures, encryption, statuses, Retry-After."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from po_api.core.clock import utc_now
from po_api.webhooks.domain import ATTEMPTS, DELAYS, MAX_RETRY_AFTER, audited, error_of_status, retry_after
from po_api.webhooks.encryption import SecretCipher, Undecryptable
from po_api.webhooks.signing import new_message_id, new_secret, signature, signed_headers

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_the_signature_of_a_known_message() -> None:
    """Computed by the library of Standard Webhooks."""
    secret, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime.fromtimestamp(1614265330, tz=UTC)
    message_id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
    assert signature(secret, message_id, at, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 2))
def test_the_library_verifies_every_body(text: str, count: int) -> None:
    secrets = [new_secret() for _ in range(count)]
    body = text.encode()
    headers = dict(signed_headers(secrets, new_message_id(), utc_now(), body))
    for secret in secrets:
        Webhook(secret).verify(body, headers, json_parse=False)
    for wrong, sent in ((new_secret(), body), (secrets[0], body + b" ")):
        with pytest.raises(WebhookVerificationError):
            Webhook(wrong).verify(sent, headers, json_parse=False)


def test_secrets_have_a_size_that_the_standard_allows_and_are_all_different() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}
    assert len({new_message_id() for _ in range(100)}) == 100


def test_a_secret_is_only_decrypted_with_the_same_key() -> None:
    secret = new_secret()
    encrypted = SecretCipher("a" * 40).encrypt(secret)
    assert secret not in encrypted
    assert SecretCipher("a" * 40).decrypt(encrypted) == secret
    assert SecretCipher("a" * 40).encrypt(secret) != encrypted
    for key, text in (("b" * 40, encrypted), ("a" * 40, encrypted[:-4] + "AAA="), ("a" * 40, ""), ("a" * 40, "é")):
        with pytest.raises(Undecryptable):
            SecretCipher(key).decrypt(text)


def test_there_are_ten_attempts_in_three_days() -> None:
    assert ATTEMPTS == 10
    assert list(DELAYS) == sorted(DELAYS)
    assert timedelta(days=3) < sum(DELAYS, timedelta()) < timedelta(days=4)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((status, None) for status in (200, 202, 204, 299)),
        *((status, "redirected") for status in (300, 301, 302, 307, 308)),
        (410, "gone"),
        *((status, "unexpected_status") for status in (400, 401, 404, 429, 500, 503, 599)),
    ],
)
def test_only_2xx_is_a_success(status: int, error: str | None) -> None:
    assert error_of_status(status) == error


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("0", timedelta()),
        (" 120 ", timedelta(seconds=120)),
        ("99999999999999999999", MAX_RETRY_AFTER),
        ("Mon, 30 Nov 2026 13:00:00 GMT", timedelta(hours=1)),
        ("Mon, 30 Nov 2026 13:00:00", timedelta(hours=1)),
        ("Mon, 30 Nov 2026 11:00:00 GMT", timedelta()),
        ("Mon, 30 Nov 2099 11:00:00 GMT", MAX_RETRY_AFTER),
        ("Mon, 99 Nov 2026 13:00:00 GMT", None),
        ("Mon, 30 Nov 99999999999 13:00:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(header: str | None, asked: timedelta | None) -> None:
    assert retry_after(header, NOW) == asked


@given(st.text())
def test_retry_after_of_anything_is_within_its_limits(header: str) -> None:
    asked = retry_after(header, NOW)
    assert asked is None or timedelta() <= asked <= MAX_RETRY_AFTER


def test_the_audit_trail_has_no_path_and_no_query_of_a_url() -> None:
    values = {"url": "https://erp.example:8443/secret/path?token=secret", "description": "ERP"}
    assert audited(values) == {"url": "https://erp.example:8443", "description": "ERP"}
