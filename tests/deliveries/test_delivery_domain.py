"""The rules of deliveries as pure functions: addresses, texts, delays, the mail itself, and where it is handed over."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from po_api.core.mail_url import MailDirectory, SmtpServer, Tls, mail_url
from po_api.core.parties import Language
from po_api.deliveries.domain import OrderFacts, body_of, subject_of, with_link
from po_api.deliveries.templates import BUILT_IN
from po_api.mail.domain import (
    ATTEMPTS,
    delay_after,
    envelope_sender,
    new_message_id,
    seconds_until_midnight,
)
from po_api.mail.messages import Attachment, Mail, enveloped
from po_api.organisations.mail_templates import Placeholder, require_known_placeholders
from po_api.settings import Settings

ORDER = OrderFacts("PO-2026-000001", 2, "Müller {total} GmbH", Decimal("1234.50"), "EUR", date(2026, 12, 24))


def test_attempts_are_made_after_1_5_25_and_125_minutes_and_then_every_six_hours() -> None:
    minutes = [delay_after(attempts) / timedelta(minutes=1) for attempts in range(1, ATTEMPTS)]
    assert minutes == [1, 5, 25, 125, *[360] * 7]


@pytest.mark.parametrize(
    ("language", "total", "day"),
    [
        ("en", "€1,234.50", "24 December 2026"),
        ("de", "1.234,50 €", "24. Dezember 2026"),
        ("fr", "1 234,50 €", "24 décembre 2026"),
        ("es", "1.234,50 €", "24 de diciembre de 2026"),
    ],
)
def test_the_built_in_texts_say_what_an_order_is_about(language: str, total: str, day: str) -> None:
    texts, locale = BUILT_IN[Language(language)], Language(language)
    subject, body = subject_of(texts.subject, ORDER, locale), body_of(texts.body, ORDER, locale, message=None)
    assert subject.endswith(ORDER.number)
    # Spaces that do not break are of several kinds.
    plain = body.replace("\xa0", " ").replace("\u202f", " ")
    for shown in (ORDER.number, total, day):
        assert shown in plain
    assert (ORDER.supplier in plain) == ("{supplier}" in texts.body)
    linked = with_link(body, "https://po.example/supplier#1.x")
    assert "https://po.example/supplier#1.x" in linked
    assert len(with_link(body, None).splitlines()) == len(linked.splitlines()) - 1
    require_known_placeholders({language: {"subject": texts.subject, "body": texts.body}})


@pytest.mark.parametrize(
    ("total", "currency", "shown"),
    [
        ("1234.567", "IQD", ["IQD1,234.567", "1.234,567 IQD", "1 234,567 IQD", "1.234,567 IQD"]),
        ("100.50", "HUF", ["HUF100.50", "100,50 HUF", "100,50 HUF", "100,50 HUF"]),
        ("1235", "JPY", ["JP¥1,235", "1.235 ¥", "1 235 JPY", "1.235 JPY"]),
    ],
)
def test_totals_are_not_rounded(total: str, currency: str, shown: list[str]) -> None:
    order = replace(ORDER, total=Decimal(total), currency=currency)
    found = [body_of("{total}", order, language, message=None) for language in Language]
    assert [text.replace("\xa0", " ").replace("\u202f", " ") for text in found] == shown


def test_only_known_names_in_braces_are_replaced_and_once() -> None:
    text = "{number} {unknown} {supplier} {} {{number}}"
    assert body_of(text, ORDER, Language.ENGLISH, message="{number}") == (
        "{number}\n\nPO-2026-000001 {unknown} Müller {total} GmbH {} {PO-2026-000001}"
    )
    assert {str(name) for name in Placeholder} == {"number", "revision", "supplier", "total", "needed_by", "link"}


def _mail(**fields: Any) -> Mail:
    values: dict[str, Any] = {
        "sender": "purchasing@po.example",
        "to": ["orders@supplier.example"],
        "cc": [],
        "reply_to": "bo@company.example",
        "subject": "Order",
        "body": "Text",
        "locale": "en",
        "message_id": new_message_id("purchasing@po.example"),
        "date": datetime(2026, 11, 30, tzinfo=UTC),
        "files": [Attachment("PO-2026-000001.pdf", "application/pdf", b"%PDF")],
    }
    return Mail(**values | fields)


# What a reader would decode, with line breaks in it (RFC 2047).
_ENCODED = ["=?utf-8?q?=0D=0ABcc:_x=40y.example?=", "=?utf-8?b?DQpCY2M6IHg=?=", "=?utf-8?q?=E9?=", "=?x?q?y?="]
_LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200)
_SUBJECTS = st.lists(_LINES | st.sampled_from([*_ENCODED, " ", "\u2028", "x" * 100]), min_size=1, max_size=5).map(
    "".join
)


@pytest.mark.heavy
@given(subject=_SUBJECTS, body=st.text(st.characters(exclude_categories=["Cs"]), max_size=2000))
def test_a_mail_is_read_as_it_was_written(subject: str, body: str) -> None:
    found = message_from_bytes(enveloped(_mail(subject=subject, body=body)).content, policy=default)
    assert str(found["Subject"]) == " ".join(subject.split())
    assert set(found.keys()) == {
        *("From", "Reply-To", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
        *("MIME-Version", "Content-Type"),
    }
    assert [part["Content-Language"] for part in found.walk()] == [None, "en", None]
    assert [part.get_content_type() for part in found.walk()] == ["multipart/mixed", "text/plain", "application/pdf"]


def test_addresses_are_written_as_they_are() -> None:
    """All characters are allowed in an address, which is no encoded word."""
    address = "=?utf-8?q?=0d=0abcc=3a_x=40y=2eexample?=@evil.example"
    content = enveloped(_mail(to=["a@supplier.example", address], cc=[address], reply_to=address)).content
    headers = content.partition(b"\r\n\r\n")[0].decode()
    assert f"\r\nReply-To: {address}\r\nTo: a@supplier.example,\r\n {address}\r\nCc: {address}\r\n" in headers
    assert "bcc:" not in headers.lower()


def test_names_of_people_and_domains_in_other_scripts_arrive() -> None:
    ascii_only = enveloped(_mail(to=["orders@müller.example"]))
    assert (ascii_only.recipients, ascii_only.needs_utf8) == (["orders@xn--mller-kva.example"], False)
    ascii_only.content.decode("ascii")
    other = enveloped(_mail(to=["jörg@müller.example"], cc=['"a,b"@supplier.example']))
    assert (other.recipients, other.needs_utf8) == (["jörg@xn--mller-kva.example", '"a,b"@supplier.example'], True)
    assert "To: jörg@xn--mller-kva.example" in other.content.decode()


def test_a_bounce_names_its_mail() -> None:
    first, second = new_message_id("po@po.example"), new_message_id("po@po.example")
    assert first != second
    assert first.endswith("@po.example")
    assert envelope_sender("po@po.example", first) == f"po+{first.partition('@')[0]}@po.example"
    assert len(envelope_sender("x" * 30 + "@po.example", first).partition("@")[0]) <= 64


def test_the_day_of_the_quota_ends_at_midnight() -> None:
    assert seconds_until_midnight(datetime(2026, 11, 30, 23, 59, 59, 500_000, tzinfo=UTC)) == 1
    assert seconds_until_midnight(datetime(2026, 11, 30, tzinfo=UTC)) == 86_401


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtp://mail.example", SmtpServer("mail.example", 587, Tls.STARTTLS)),
        ("smtp://po:p%40ss@MAIL.example:2525", SmtpServer("mail.example", 2525, Tls.STARTTLS, "po", "p@ss")),
        ("smtps://po:secret@mail.example/", SmtpServer("mail.example", 465, Tls.IMPLICIT, "po", "secret")),
        ("smtp://10.0.0.7:25?starttls=off", SmtpServer("10.0.0.7", 25, Tls.NONE)),
        ("smtp://po:secret@localhost:1025", SmtpServer("localhost", 1025, Tls.NONE, "po", "secret")),
        ("smtp://[::1]:1025?starttls=on", SmtpServer("::1", 1025, Tls.STARTTLS)),
        ("file:", MailDirectory(None)),
        ("file:///var/mail%20out", MailDirectory(Path("/var/mail out"))),
    ],
)
def test_urls_of_mail(text: str, expected: object) -> None:
    assert mail_url(text) == expected
    assert Settings(_env_file=None, mail_from="po@po.example", mail_url=SecretStr(text)).mail_place == expected


@pytest.mark.parametrize(
    "text",
    [
        "mail.example:25",
        "http://mail.example",
        "smtp://",
        "smtp://mail.example:0",
        "smtp://mail.example:x",
        "smtp://mail.example/inbox",
        "smtp://po@mail.example",
        "smtp://po:pass word@mail.example",
        "smtp://po:pass#word@mail.example",
        "smtp://mail.example?tls=1",
        "smtps://mail.example?starttls=on",
        # Credentials in the clear.
        "smtp://po:secret@mail.example?starttls=off",
        "smtp://po:secret@127.0.0.1.example?starttls=off",
        "file:mail",
        "file://host/mail",
    ],
)
def test_urls_that_are_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        mail_url(text)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(SmtpServer("mail.example", 25, Tls.NONE, "po", "secret"))
