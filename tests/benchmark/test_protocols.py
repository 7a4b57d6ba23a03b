"""Protocols are declarations: known by name, complete, and closed to fields that nobody knows."""

from __future__ import annotations

import dataclasses

import pytest

from videochat.benchmark.protocols import PROTOCOLS, Protocol
from videochat.errors import UsageError


def test_the_protocols_are_there_and_v1_is_what_proves_its_claim() -> None:
    assert list(PROTOCOLS) == ["v1", "v1-at-comment", "classic", "livebot"]
    assert PROTOCOLS["v1"].label == "v1.0"
    assert PROTOCOLS["classic"].label == "classic-1.0"
    assert PROTOCOLS["v1"].clip_blind_at_chance
    assert not PROTOCOLS["classic"].clip_blind_at_chance
    assert PROTOCOLS["v1"].set_name("cosine", 10) == "cosine10"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'classic'"):
        PROTOCOLS["clasic"]
    with pytest.raises(UsageError, match="random, cosine, popularity"):
        PROTOCOLS["v1"].set_name("plausible", 10)


@pytest.mark.parametrize("name", ["v1", "v1-at-comment", "classic", "livebot"])
def test_a_declaration_survives_json(name: str) -> None:
    assert Protocol.from_json(PROTOCOLS[name].to_json()) == PROTOCOLS[name]


def test_unknown_and_missing_fields_are_refused() -> None:
    value = PROTOCOLS["v1"].to_json()
    with pytest.raises(UsageError, match="num_candidates"):
        Protocol.from_json({**value, "num_candidates": 10})
    del value["construction"]
    with pytest.raises(UsageError, match="construction"):
        Protocol.from_json(value)


def test_impossible_declarations_and_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="impossible protocol"):
        dataclasses.replace(PROTOCOLS["v1"], k=1)
    with pytest.raises(UsageError, match="K = 1001 is not between 2 and 1000 for protocol v1"):
        PROTOCOLS["v1"].check_k(1001)
    with pytest.raises(UsageError, match="no K"):
        PROTOCOLS["v1"].sizes([])
    assert PROTOCOLS["v1"].sizes([100, 10, 10]) == (10, 100)
    assert [PROTOCOLS["v1"].pool_of(k) for k in (2, 99, 100)] == ["recording", "recording", "category"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROTOCOLS["v1"].k = 5  # type: ignore[misc]
