"""The format of API keys: created keys are accepted, mistyped ones are not."""

import string

from hypothesis import given
from hypothesis import strategies as st

from po_api.api_keys.domain import id_of, is_api_key, new_key, prefix_of

IDS = st.integers(1, 2**63 - 1)
CHARACTERS = st.sampled_from(string.ascii_letters + string.digits + "_-é ")


@given(IDS)
def test_a_key_names_its_row(key_id: int) -> None:
    key = new_key(key_id)
    assert id_of(key) == key_id
    assert is_api_key(key)
    assert key.startswith(prefix_of(key_id))
    assert key.replace("_", "").isalnum()


@given(IDS, st.data(), CHARACTERS)
def test_a_mistyped_key_has_no_id(key_id: int, data: st.DataObject, character: str) -> None:
    key = new_key(key_id)
    place = data.draw(st.integers(0, len(key) - 1))
    mistyped = key[:place] + character + key[place + 1 :]
    assert id_of(mistyped) is None or mistyped == key
    assert id_of(key[:place] + key[place + 1 :]) is None


@given(st.text())
def test_other_text_is_not_a_key(text: str) -> None:
    assert id_of(text) is None
    assert id_of(f"po_{text}") is None


def test_two_keys_of_a_row_are_different() -> None:
    assert new_key(1) != new_key(1)


def test_an_id_beyond_the_column_is_none() -> None:
    assert id_of(new_key(2**63)) is None
