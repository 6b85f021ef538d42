"""One spelling per name, and the characters that are forbidden in texts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.text import canonical, has_forbidden_characters, normalise


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text())
def test_composed_and_decomposed_spellings_have_one_canonical_form(text: str) -> None:
    assert canonical(unicodedata.normalize("NFD", text)) == canonical(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(("one", "other"), [("MÜLLER", "mu\u0308ller"), ("Straße", "STRASSE"), (" Acme ", "acme")])
def test_names_are_compared_without_case_and_outer_space(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


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
