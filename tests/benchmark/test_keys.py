"""Keys of comments: the rules of PROTOCOL one by one, and that a key is its own key."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.benchmark.texts.keys import fold, fold_array, key, key_array, keys, num_alphanumeric, speakable

CHATTY = st.text(alphabet=st.sampled_from([*"aAlLoOgGsSmM!?.,'\"()  \t19", "ß", "ﬁ", "İ", "…", "́", "«", "😂", "あ"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ＡＢＣ ①", "abc 1"),  # NFKC
        ("STRASSE", key("straße")),  # casefold, not lower
        ("nooooo", "noo"),
        ("noo", "noo"),  # runs of two stay
        ("a \t\n b", "a b"),
        ("  'hello,  world!?' ", "hello, world"),
        ("«¡hola!»", "hola"),
        ("don't-stop", "don't-stop"),  # punctuation inside stays
        ("lmao", "lol"),
        ("LMAOOOOO!!!", "lol"),
        ("LOOOOL", "lol"),
        ("GGs", "gg"),
        ("ggs everyone", "ggs everyone"),  # aliases are for whole comments
        ("<3", "<3"),  # not punctuation in Unicode's terms
        ("😂😂😂😂", "😂😂"),
        ("مرحباااا", "مرحباا"),
        ("???", ""),
        ("", ""),
        (" \u3000 ", ""),
    ],
)
def test_key(text: str, expected: str) -> None:
    assert key(text) == expected


@given(st.one_of(st.text(), CHATTY))
def test_a_key_is_its_own_key(text: str) -> None:
    once = key(text)
    assert key(once) == once
    assert fold(fold(text)) == fold(text)


@given(CHATTY)
def test_keys_ignore_case_edges_and_elongation(text: str) -> None:
    assert key(f" ...{text}!!! ") == key(text)
    assert key(text.upper()) == key(text.upper().lower())


@given(st.lists(st.sampled_from(["lol", "LOL", "", "é", "a  b"])))
def test_keys_of_many_are_the_keys_of_each(texts: list[str]) -> None:
    assert keys(texts) == [key(text) for text in texts]


def test_letters_and_digits_of_any_script_count() -> None:
    assert [num_alphanumeric(text) for text in ("", "<3", "gg", "あい", "!a!", "😂😂")] == [0, 1, 2, 2, 1, 0]


@settings(deadline=None)  # the first call imports Arrow's functions
@given(st.lists(st.one_of(st.text(), CHATTY, st.text(alphabet=st.characters(max_codepoint=127)))))
def test_arrays_of_texts_have_the_keys_of_each(texts: list[str]) -> None:
    array = pa.array(texts, pa.string())
    assert fold_array(array).to_pylist() == [fold(text) for text in texts]
    assert key_array(array).to_pylist() == [key(text) for text in texts]


@given(st.lists(st.one_of(st.text(), CHATTY)))
def test_an_array_knows_which_keys_could_be_truths(texts: list[str]) -> None:
    assert speakable(pa.array(texts, pa.string())).to_pylist() == [num_alphanumeric(text) >= 2 for text in texts]
