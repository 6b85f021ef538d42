"""One spelling per name, and the characters that are forbidden in texts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.text import MAX_KEY_BYTES, has_forbidden_characters, is_visible, name_key, normalise


@pytest.mark.heavy
@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_composed_and_decomposed_spellings_have_one_key(text: str) -> None:
    assert name_key(unicodedata.normalize("NFD", text)) == name_key(unicodedata.normalize("NFC", text))
    assert name_key(unicodedata.normalize("NFKC", text)) == name_key(text)


@given(TEXTS)
def test_a_key_is_its_own_key(text: str) -> None:
    assert name_key(name_key(text)) == name_key(text)


@given(TEXTS, TEXTS)
def test_invisible_characters_and_white_space_make_no_difference(one: str, other: str) -> None:
    assert name_key(f"{one} {other}") == name_key(f" {one}\u00a0\u200b \u3000{other}\ufeff ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MÜLLER", "mu\u0308ller"),
        ("Straße", "STRASSE"),
        (" Acme ", "acme"),
        ("Acme\u00a0Ltd", "Acme  Ltd"),
        ("Ac\u200bme", "Acme"),
        ("Ac\u00adme", "Acme"),
        ("Ａｃｍｅ　Ｌｔｄ", "acme ltd"),
        ("a\u034f\u0301", "á"),
        ("Acme\u202e", "acme"),
        ("株式会社", "㍿"),
        ("\u200b\u2060", ""),
    ],
)
def test_names_that_look_alike_have_one_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("Acme Ltd", "AcmeLtd"), ("Müller", "Muller"), ("a-b", "a b"), ("1", "l")])
def test_names_that_differ_visibly_have_two_keys(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=200, max_size=255))
def test_a_key_fits_into_an_index(text: str) -> None:
    assert len(name_key(text).encode()) <= MAX_KEY_BYTES


def test_long_keys_differ_as_their_names_do() -> None:
    names = ["\ufdfa" * 255, "\ufdfa" * 254, "\ufdfa" * 254 + "a"]  # eighteen characters each
    assert len({name_key(name) for name in names}) == len(names)
    assert name_key(names[2]) == name_key(names[2].upper())


@pytest.mark.parametrize(
    "text", ["", " ", "\u200b", "\u00a0\u2060", "\u3164", "\u2800", "\ufe0f", "\u00ad", "\U000e0041", "\ufff9\ufffb"]
)
def test_a_text_of_invisible_characters_is_not_visible(text: str) -> None:
    assert not is_visible(text)
    assert is_visible(f"{text}x")


@given(st.characters(categories=["Cc", "Cs"], exclude_characters="\t\n\r"))
def test_every_control_character_and_lone_surrogate_is_forbidden(character: str) -> None:
    assert has_forbidden_characters(f"a{character}b")
    assert has_forbidden_characters(f"a{character}b", multiline=False)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_ordinary_text_of_any_script_is_allowed(text: str) -> None:
    assert not has_forbidden_characters(text, multiline=False)


@pytest.mark.parametrize("character", ["\t", "\n", "\r"])
def test_line_breaks_and_tabs_are_for_texts_of_several_lines(character: str) -> None:
    assert not has_forbidden_characters(f"a{character}b")
    assert has_forbidden_characters(f"a{character}b", multiline=False)
