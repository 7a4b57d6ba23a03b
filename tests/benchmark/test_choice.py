"""Models that only choose or order: how answers are read, what ties are worth, and the bias of positions."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videochat.benchmark.scorers.choice import Asked, parse_order, position_bias, ranks_of, seeded_order, sentence
from videochat.cli import main
from videochat.commenter import ClipView, TextTable

TEXTS = TextTable([f"text {i}" for i in range(10)], [str(i) for i in range(10)])


def clip(name: str = "r_0") -> ClipView:
    return ClipView(
        clip_id=name,
        recording_id="r",
        channel_id="c",
        category="x",
        language="en",
        start_ms=0,
        now_ms=20_000,
        context=(),
    )


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("B", [1]),
        ("b", [1]),
        ("(C)", [2]),
        ("**B**", [1]),
        ("C > A > B", [2, 0, 1]),
        ("3, 1, 2", [2, 0, 1]),
        ("[2, 1]", [1, 0]),
        ("Answer: B", [1]),
        ("The answer is B.", [1]),
        ("Ranking: 3 > 1 > 2", [2, 0, 1]),
        ([1, 0], [1, 0]),
        (np.array([2, 0]), [2, 0]),
        (4, [4]),
        ("I cannot say", None),
        ("A dog, I think", None),
        ("The best is 3", None),
        ("Z", None),
        ("6", None),
        ("0", None),
        ("A, A", None),
        ("", None),
        ([0, 0], None),
        ([5], None),
        ([-1], None),
        ([0.5], None),
        ([True], None),
        ([], None),
        (None, None),
        (True, None),
        ({"A": 1}, None),
        ("9" * 3000, None),
    ],
)
def test_answers_as_people_and_models_write_them(answer: object, found: list[int] | None) -> None:
    assert parse_order(answer, 5) == found


@given(st.text(max_size=60))
def test_no_string_breaks_the_reader(text: str) -> None:
    found = parse_order(text, 5)
    assert found is None or (len(set(found)) == len(found) and set(found) <= set(range(5)))


def test_what_is_not_named_shares_the_ranks_that_are_left() -> None:
    assert ranks_of([2, 0], 4).tolist() == [2, 3.5, 1, 3.5]
    assert ranks_of(None, 3).tolist() == [2, 2, 2]
    assert ranks_of([1, 0, 2], 3).tolist() == [2, 1, 3]
    for named in range(5):
        assert ranks_of(range(named), 4 if named < 5 else 5).sum() == 10


class ByText:
    """Prefers high numbers in the text, whatever the order; writes its answers as letters."""

    name = "by-text"
    needs: frozenset[str] = frozenset()

    def rank(self, clip, texts):
        return " > ".join("ABCDEFGHIJ"[i] for i in sorted(range(len(texts)), key=lambda i: texts[i], reverse=True))


class FirstOne(ByText):
    name = "first-one"

    def rank(self, clip, texts):
        return 0


def test_the_score_is_minus_the_mean_rank_of_the_orders() -> None:
    asked = Asked(ByText())
    scores = asked.score([clip()], [[1, 4, 7]], TEXTS)[0].score
    assert scores.tolist() == [-3, -2, -1]
    facts = asked.facts()
    assert (facts["orders"], facts["asked"], facts["unparsable"], facts["partial"]) == (3, 3, 0, 0)
    again = Asked(ByText()).score([clip()], [[1, 4, 7]], TEXTS)[0].score
    assert (again == scores).all()


def test_the_orders_are_seeded_and_uniform() -> None:
    ids = list(range(10))
    orders = [seeded_order(0, f"c{i}", ids, turn).tolist() for i in range(300) for turn in range(3)]
    assert all(sorted(order) == ids for order in orders)
    assert seeded_order(0, "c1", ids, 0).tolist() == orders[3]
    counts = np.bincount([order[0] for order in orders], minlength=10)
    assert counts.min() > 55
    assert counts.max() < 130


def test_position_bias_is_seen_where_it_is_and_only_there() -> None:
    fair, biased = Asked(ByText()), Asked(FirstOne())
    clips = [clip(f"r_{i}") for i in range(200)]
    for asked in (fair, biased):
        asked.score(clips, [range(10)] * 200, TEXTS)
        asked.score(clips, [range(10)] * 200, TEXTS)  # with swapped frames: the same questions, no second draw
    bias = {asked.chooser.name: asked.facts()["first_choice"] for asked in (fair, biased)}
    assert bias["by-text"]["num"] == 600
    assert bias["by-text"]["p"] > 0.01
    assert bias["by-text"]["p_any"] > 0.01
    assert bias["first-one"]["mean_position"] == 1
    assert bias["first-one"]["p"] < 1e-6
    assert "it prefers early ones" in sentence("m", biased.facts())
    assert "no bias seen" in sentence("m", fair.facts())


def test_the_p_of_a_position_is_the_share_of_means_as_far_away() -> None:
    """Against all 4^6 equally likely outcomes; a normal approximation, so to some hundredths."""
    found = [0, 0, 1, 0, 2, 0]
    means = [abs(np.mean(places) - 1.5) for places in itertools.product(range(4), repeat=6)]
    exact = np.mean([mean >= abs(np.mean(found) - 1.5) - 1e-9 for mean in means])
    assert position_bias([(place, 4) for place in found])["p"] == pytest.approx(exact, abs=0.04)
    assert position_bias([])["p"] is None
    assert position_bias([(0, 1)])["p"] == 1.0
    mixed = position_bias([(0, 4), (3, 10)])
    assert mixed["counts"] is None
    assert mixed["expected"] == 4.0


CHOOSER = '''
class Chooser:
    """Reads nothing and says so every second time."""
    name = "half"
    needs = frozenset()

    def __init__(self):
        self.asked = 0

    def rank(self, clip, texts):
        self.asked += 1
        return "I cannot tell" if self.asked % 2 else sorted(range(len(texts)), key=lambda i: -len(texts[i]))
'''


def test_a_class_with_rank_in_a_file_is_ranked(
    tmp_path: Path, dummies: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "w"
    dummies.make_dataset(root, num_channels=3, recordings_per_channel=1, clips_per_recording=12, dim=None)
    (tmp_path / "chooser.py").write_text(CHOOSER)
    name = f"{tmp_path / 'chooser.py'}:Chooser"
    assert run("candidates", "--data", root, "--k", 4) == 0
    capsys.readouterr()
    assert run("bench", "--data", root, "--model", name, "--json", "--no-report", "--allow-failed-audit") == 0
    result = json.loads(capsys.readouterr().out)
    info = json.loads((Path(result["run"]) / "run.json").read_text())
    row = next(model for model in info["models"] if model["name"] == "half")
    assert (row["kind"], row["scored"], row["score_rule"]) == ("model", "by set", "own")
    assert row["asked"]["unparsable"] == row["asked"]["asked"] / 2 > 0
    assert "half was asked in 3 orders" in (Path(result["run"]) / "table.txt").read_text()


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code
