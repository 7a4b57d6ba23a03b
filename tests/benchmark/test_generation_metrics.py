"""Metrics of generated comments: by hand, against the libraries' own examples, anchors, odd input, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from videochat.benchmark.generation import overlap, variety
from videochat.benchmark.generation.assess import assess, perplexity, to_text
from videochat.benchmark.generation.comments_file import read_comments, write_comments
from videochat.benchmark.generation.material import Comments, Material, most_frequent
from videochat.benchmark.generation.text_metrics import TEXT_METRICS
from videochat.benchmark.generation.words import words
from videochat.commenter import ClipScores
from videochat.errors import MissingInput, UsageError


def material(*references: tuple[str, ...], contexts: tuple[tuple[str, ...], ...] | None = None) -> Material:
    n = len(references)
    return Material(
        clip_ids=tuple(f"clip-{i}" for i in range(n)),
        clusters=tuple(f"c{i}" for i in range(n)),
        contexts=contexts or tuple((f"context {i}",) for i in range(n)),
        references=references,
        held_out=tuple(group[0] for group in references),
        popular="lol",
        num_left_out=0,
    )


def comments(texts: list[str], of: Material) -> Comments:
    return Comments(name="x", texts=texts, material=of)


def test_words_keep_emoji_and_part_punctuation() -> None:
    assert words("Nice shot, DUDE!! 😂") == ["nice", "shot", ",", "dude", "!", "!", "😂"]
    assert words("   ") == []


def test_a_perfect_copy_of_a_reference_has_the_greatest_overlap() -> None:
    found = material(("that was a very nice red shot", "wow"), ("where did the blue ball go now", "gg"))
    same = comments([group[0] for group in found.references], found)
    other = comments(["completely unrelated words here sir", "nothing in common with any"], found)
    assert overlap.bleu(same) == pytest.approx(100)
    assert overlap.rouge_l(same).tolist() == [1.0, 1.0]
    assert overlap.exact_match(same).tolist() == [1.0, 1.0]
    assert (overlap.cider(same) > 1).all()
    assert overlap.rouge_l(other).max() < 0.3
    assert overlap.cider(other).tolist() == pytest.approx([0, 0], abs=0.1)


def test_rouge_l_by_hand_with_emoji_that_the_library_alone_would_drop() -> None:
    found = material(("a b c d", "x 😂"))
    assert overlap.rouge_l(comments(["a c e"], found))[0] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert overlap.rouge_l(comments(["😂"], found))[0] == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_bleu_of_the_papers_example_with_several_references() -> None:
    """Papineni et al. 2002: clipped unigram precision of "the the the ..." is 2/7, so nothing else matches."""
    found = material(("the cat is on the mat", "there is a cat on the mat"))
    metric = overlap._bleu_metric()
    score = metric.corpus_score(
        ["the the the the the the the"], [["the cat is on the mat"], ["there is a cat on the mat"]]
    )
    assert score.precisions[0] == pytest.approx(100 * 2 / 7)
    assert overlap.bleu(comments(["the the the the the the the"], found)) == pytest.approx(score.score)


def test_different_numbers_of_references_are_no_fault() -> None:
    found = material(("a b c d e",), ("f g h i j", "k l m n o", "p q"))
    assert overlap.bleu(comments(["a b c d e", "k l m n o"], found)) == pytest.approx(100)


def test_meteor_is_absent_without_wordnet_and_says_so() -> None:
    found = material(("a b", "c"), ("d e", "f"))
    result = assess({"x": ["a b", "d e"]}, found)
    if overlap.has_wordnet():
        assert result["rows"][0]["metrics"]["METEOR"]["value"] > 0.9
    else:
        assert "WordNet" in result["missing"]["METEOR"]
        assert "no METEOR" in to_text(result)


def test_variety_by_hand() -> None:
    found = material(("r",), ("r",), ("r",))
    some = comments(["a b a", "a b", "GG"], found)
    assert variety.distinct_1(some) == pytest.approx(3 / 6)
    assert variety.distinct_2(some) == pytest.approx(2 / 3)
    assert variety.distinct_comments(comments(["gg", "GGs", "no"], found)) == pytest.approx(2 / 3)
    assert variety.self_bleu(comments(["one two three four five"] * 3, found)) == pytest.approx(100)
    assert variety.self_bleu(comments(["a b c d", "e f g h", "i j k l"], found)) == pytest.approx(0, abs=1e-9)
    assert np.isnan(variety.self_bleu(comments(["a"], material(("r",)))))
    assert np.isnan(variety.distinct_2(comments(["a", "b", "c"], found)))


def test_lengths_copies_and_generic_replies() -> None:
    found = material(("a b", "a b c d"), ("x",), contexts=(("Hello THERE!!!", "y"), ("z",)))
    some = comments(["hello there", "LOL"], found)
    assert variety.length_ratio(some).tolist() == pytest.approx([2 / 3, 1.0])
    assert variety.copied(some).tolist() == [1.0, 0.0]
    assert variety.popular(some).tolist() == [0.0, 1.0]


def test_most_frequent_by_key_with_ties() -> None:
    assert most_frequent(["gg", "GG", "no", "no", "ggs"]) == "GG"
    assert most_frequent(["b", "a"]) == "a"
    with pytest.raises(MissingInput):
        most_frequent([])


def test_anchors_stand_in_every_table_and_intervals_need_ten_clusters() -> None:
    few = material(*[(f"answer number {i}", "ok") for i in range(9)])
    many = material(*[(f"answer number {i}", "ok") for i in range(12)])
    small = assess({"x": ["ok"] * 9}, few)
    large = assess({"x": [f"answer {i}" for i in range(12)]}, many)
    assert [row["model"] for row in small["rows"]] == ["x", "person", "popular", "copy-last"]
    assert small["rows"][0]["metrics"]["exact"] == {"value": 1.0, "low": None, "high": None}
    rouge = large["rows"][0]["metrics"]["ROUGE-L"]
    assert rouge["low"] <= rouge["value"] <= rouge["high"]
    person = large["rows"][1]["metrics"]
    assert person["exact"]["value"] == 1.0
    assert "too few" in to_text(small)
    assert "SIMULATED" in to_text(large, simulated=True)
    assert all(len(line) <= 120 for line in to_text(large).splitlines())


def test_the_same_input_gives_the_same_figures_in_any_order_of_clips() -> None:
    groups = [(f"the answer {i % 5} is red", "gg", f"x{i}") for i in range(14)]
    texts = [f"the answer {i % 3}" for i in range(14)]
    one = assess({"x": texts}, material(*groups))
    again = assess({"x": texts}, material(*groups))
    assert one == again


@pytest.mark.parametrize(
    ("texts", "why"), [(["a"], "1 comments for 2"), (["a", " "], "empty"), (["a", "b"], "anchor row")]
)
def test_wrong_comments_are_refused(texts: list[str], why: str) -> None:
    name = "person" if why == "anchor row" else "x"
    with pytest.raises(UsageError, match=why):
        assess({name: texts}, material(("a", "b"), ("c", "d")))


class Uniform:
    """Every token has probability 1/4; a text has as many tokens as characters, and the end."""

    name = "uniform"
    needs: frozenset[str] = frozenset()

    def score(self, clips, candidates, texts):  # type: ignore[no-untyped-def]
        sizes = [np.array([len(texts.texts[i]) + 1 for i in ids], dtype=np.int32) for ids in candidates]
        return [ClipScores(score=-s * np.log(4.0), log_likelihood=-s * np.log(4.0), num_tokens=s) for s in sizes]


def test_perplexity_of_a_uniform_model_is_its_vocabulary() -> None:
    found = perplexity(Uniform(), [None] * 2, [("abc", "d"), ("ef",)])  # type: ignore[list-item]
    assert found is not None
    assert found.per_token == pytest.approx(4)
    assert found.bits_per_byte == pytest.approx(2 * (4 + 2 + 3) / 6)


def test_comments_files_survive_a_round_trip_and_bad_ones_are_told(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write_comments(path, ["a", "b"], ["hi 😂", "line\u2028break"])
    assert read_comments(path, ["b", "a"]) == ["line\u2028break", "hi 😂"]
    path.write_text(json.dumps([{"clip_id": "a", "comment": "x", "recording_id": "r", "now_ms": 1}]))
    assert read_comments(path, ["a"]) == ["x"]
    with pytest.raises(MissingInput, match="no comment for 1 clips, q first"):
        read_comments(path, ["q"])
    for text, why in (
        ("{", "no JSON"),
        ('{"clip_id": "a"}', "line 1: no clip_id and comment"),
        ('{"clip_id": "a", "comment": "x"}\n' * 2, "line 2: clip a comes twice"),
        ("[1]", "line 1: no clip_id"),
        (json.dumps({"clip_id": "a", "comment": "\ud83d"}), "line 1: the comment holds half a character"),
        ("9" * 5000, "no JSON"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "no JSON"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=why):
            read_comments(path, ["a"])
    with pytest.raises(MissingInput, match="no comments at"):
        read_comments(tmp_path / "absent", ["a"])


def test_each_metric_tells_what_it_is() -> None:
    for metric in TEXT_METRICS.values():
        assert len(metric.summary) > 20
        assert metric.better in ("high", "low", "near")
