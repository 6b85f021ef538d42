"""E-mail addresses: which spellings are one address."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.domains import a_label, u_label
from po_api.core.email import canonical_email, comparable_email


@pytest.mark.parametrize(
    ("spelling", "stored"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("groß@example.com", "groß@example.com"),
        ("GROẞ@example.com", "groß@example.com"),
        ("ſam@example.com", "ſam@example.com"),
        ("zoe\u0308@example.com", "zoë@example.com"),
        ("ada@Straße.example", "ada@straße.example"),
        ("ada@XN--STRAE-OQA.example", "ada@straße.example"),
        ("ada@STRASSE.example", "ada@strasse.example"),
        ("ada@faß\u3002de", "ada@faß.de"),
        ("ada@ｅxample.com", "ada@example.com"),
        ("ΟΔΟΣ@example.com", "οδος@example.com"),
    ],
)
def test_an_address_has_one_spelling(spelling: str, stored: str) -> None:
    assert canonical_email(spelling) == comparable_email(f" {spelling} ") == stored
    assert canonical_email(stored) == stored


def test_persons_with_similar_addresses_are_different() -> None:
    local = ["strauß", "strauss", "ſam", "sam", "ﬁn", "fin", "ος", "οσ", "ı", "i"]
    domains = ["straße", "strasse", "ος", "οσ", "faß", "fass"]
    addresses = [f"{name}@example.com" for name in local] + [f"a@{name}.example" for name in domains]
    assert len({canonical_email(address) for address in addresses}) == len(addresses)


@pytest.mark.parametrize(
    "text",
    ["", "@", "ada", "ada@", "@example.com", "ada@-a.example", "ada@a b.example", "a@b@example.com", "ada@localhost"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an e-mail address"):
        canonical_email(text)


@given(st.text(), st.sampled_from(["example.com", "straße.example", "XN--STRAE-OQA.example", "Ärger.example"]))
def test_the_spelling_of_a_spelling_is_the_same(local: str, domain: str) -> None:
    once = comparable_email(f"{local}@{domain}")
    assert comparable_email(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text(st.characters(categories=["Ll", "Lo", "Nd"]), min_size=1, max_size=20))
def test_domains_and_their_ascii_forms_correspond_one_to_one(label: str) -> None:
    try:
        ascii_form = a_label(f"{label}.example")
    except ValueError:
        return
    assert a_label(u_label(ascii_form)) == ascii_form
    assert u_label(u_label(ascii_form)) == u_label(ascii_form)
