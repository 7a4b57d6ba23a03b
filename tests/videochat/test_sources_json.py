"""The array splitter: any chunking of any JSON gives the same elements; broken JSON is said, not guessed."""

from __future__ import annotations

import itertools
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.errors import BadRecording
from videochat.sources import json_stream
from videochat.sources.json_stream import JsonStream, split_elements

TEXT = st.text(alphabet=st.one_of(st.sampled_from('"\\[]{},: \n'), st.characters(exclude_categories=["Cs"])))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def chunked(text: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(places)]


def elements(chunks: list[bytes]) -> list[object]:
    return [value for blob in JsonStream(chunks).array() for value in orjson.loads(b"[" + blob + b"]")]


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6), st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from([None, 1]))
def test_any_chunking_of_any_array_gives_its_elements(values: list[object], cuts: list[int], indent: int | None):
    text = json.dumps(values, indent=indent, ensure_ascii=False).encode()
    assert elements(chunked(text, cuts)) == values


@given(st.lists(VALUES, max_size=4))
@settings(max_examples=20, deadline=None)
def test_even_single_bytes(values: list[object]):
    text = json.dumps(values).encode()
    assert elements([text[i : i + 1] for i in range(len(text))]) == values


@given(st.lists(VALUES, min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_blob_splits_into_its_elements(values: list[object]):
    blob = json.dumps(values, ensure_ascii=False)[1:-1].encode()
    assert [orjson.loads(part) for part in split_elements(blob)] == values


@settings(deadline=None)
@given(VALUES, st.lists(st.integers(0, 10_000), max_size=8))
def test_one_value_is_taken_whole_and_no_more(value: object, cuts: list[int]):
    text = json.dumps(value, ensure_ascii=False).encode() + b" , 7 "
    stream = JsonStream(chunked(text, cuts))
    taken = stream.value()
    assert taken is not None
    assert orjson.loads(taken) == value
    stream.take(b",")
    assert stream.value() == b"7"
    assert stream.peek() == b""


@given(st.lists(VALUES, min_size=1, max_size=5), st.data())
@settings(max_examples=50, deadline=None)
def test_a_cut_off_array_is_always_noticed(values: list[object], data: st.DataObject):
    text = json.dumps(values).encode()
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(BadRecording) as caught:
        elements([text[:cut]])
    assert caught.value.error_class == "truncated-json"


def test_a_big_value_is_passed_over_without_keeping_it():
    stream = JsonStream([b'{"a": "', *[b"x" * 1000] * 50, b'"}', b",1"])
    assert stream.value(keep=1000) is None
    stream.take(b",")
    assert stream.value() == b"1"


@pytest.mark.parametrize("text", [b'[{"a": 1}}', b"}", b"[1"])
def test_wrong_brackets_raise(text: bytes):
    with pytest.raises(BadRecording):
        list(JsonStream([text]).array())


def test_an_endless_element_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(json_stream, "MAX_ELEMENT_BYTES", 10_000)
    with pytest.raises(BadRecording) as caught:
        list(JsonStream([b'["', *[b"x" * 4000] * 10, b'"]']).array())
    assert caught.value.error_class == "oversized-message"
