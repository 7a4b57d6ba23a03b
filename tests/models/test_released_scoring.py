"""The released scoring as a Commenter: one decode, three word pieces; contexts drawn anew at each read."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat.commenter import ClipView, TextTable
from videochat.errors import Mismatch

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def trained(tokenizer: Any, clips: Any) -> Any:
    """An untrained released SFAT that reads the dummies."""
    from videochat.models.batches import Collator
    from videochat.models.commenter import LikelihoodCommenter
    from videochat.models.sfat.config import RELEASED, RELEASED_SIZES, SfatConfig
    from videochat.models.sfat.model import SfatModel
    from videochat.models.tokenizer import encoder_of

    torch.manual_seed(0)
    config = SfatConfig(vocab_size=len(tokenizer), clip_dim=16, **{**RELEASED, **RELEASED_SIZES["sample"]})
    model = SfatModel(config)
    collator = Collator(
        encode=encoder_of(tokenizer),
        needs=config.needs,
        clip_dim=16,
        max_context_comments=15,
        max_comment_tokens=8,
        max_response_tokens=8,
    )
    return LikelihoodCommenter("sfat-released", model, tokenizer, collator)


def one_decode(trained: Any, **options: Any) -> Any:
    from videochat.models.sfat.released_ranking import OneDecode

    return OneDecode(trained, **options)


def table(*texts: str) -> TextTable:
    return TextTable(list(texts), list(texts))


def test_comments_that_are_equal_after_the_cut_tie_until_they_are_whole(trained: Any, views: list[ClipView]) -> None:
    pieces = trained.collator.encode("one number 1", (), 10)[1:-1]
    assert len(pieces) >= 3
    texts = table("one number 1 red", "one number 1 blue", "nice 4")
    cut = one_decode(trained).score(views[:2], [[0, 1, 2]] * 2, texts)
    whole = one_decode(trained, max_pieces=0).score(views[:2], [[0, 1, 2]] * 2, texts)
    for clip in cut:
        assert clip.score[0] == clip.score[1] != clip.score[2]
    for clip in whole:
        assert clip.score[0] != clip.score[1]


def test_the_logits_are_shared_so_a_place_is_judged_apart_from_the_others(trained: Any, views: list[ClipView]) -> None:
    """s(ab) - s(ac) does not depend on what stands before: position-wise unigrams (likelihoods are not)."""
    words = [w for w in ("red", "blue", "green", "gold") if len(trained.collator.encode(w, (), 9)) == 3]
    assert len(words) >= 3
    a, b, c = words[:3]
    texts = table(f"{a} {b}", f"{a} {c}", f"{c} {b}", f"{c} {c}")
    ids = [[0, 1, 2, 3]]
    scores = one_decode(trained).score(views[:1], ids, texts)[0].score
    np.testing.assert_allclose(scores[0] - scores[1], scores[2] - scores[3], atol=1e-5)
    likelihood = trained.score(views[:1], ids, texts)[0].score
    assert abs((likelihood[0] - likelihood[1]) - (likelihood[2] - likelihood[3])) > 1e-4


def test_end_and_padding_count_so_every_comment_has_four_terms(trained: Any, views: list[ClipView]) -> None:
    from videochat.models.sfat.released_ranking import free_running

    commenter = one_decode(trained)
    assert len(commenter.ids("gg")) == len(commenter.ids("a far longer comment than any")) == 5
    encoding = trained.model.encode(trained.collator.clips(views[:1]))
    _, logits = free_running(trained.model, encoding, 4)
    log_probs = logits.log_softmax(-1)[0]
    expected = sum(float(log_probs[t, token].detach()) for t, token in enumerate(commenter.ids("gg")[1:]))
    found = commenter.score(views[:1], [[0]], table("gg"))[0].score
    assert found.tolist() == pytest.approx([expected], abs=1e-4)


def test_repeats_and_lists_of_different_lengths_are_scored_in_order(trained: Any, views: list[ClipView]) -> None:
    texts = table("red one", "nice 4")
    first, second = one_decode(trained).score(views[:2], [[0, 1, 0], [1]], texts)
    assert first.score.shape == (3,)
    assert second.score.shape == (1,)
    assert first.score[0] == first.score[2]


def test_the_cut_likelihood_is_that_of_the_first_pieces(trained: Any, views: list[ClipView]) -> None:
    from videochat.models.sfat.released_ranking import cut_to

    texts = table("one number 1 red", "one number 1 blue")
    scores = cut_to(trained, 3).score(views[:1], [[0, 1]], texts)[0].score
    assert scores[0] == scores[1]
    whole = trained.score(views[:1], [[0, 1]], texts)[0].score
    assert whole[0] != whole[1]
    assert cut_to(trained, 0) is trained


def test_training_reads_draw_the_context_with_replacement(trained: Any, clips: Any) -> None:
    import dataclasses

    from videochat.models.examples import ResponseBatches, examples_of

    examples = examples_of(clips, max_context_comments=1000)
    batches = ResponseBatches(
        examples=examples,
        collator=dataclasses.replace(trained.collator, draws=5),
        responses_per_clip=1,
        null_probability=0.0,
    )
    which = np.arange(4)
    first = batches(which, np.random.default_rng(0))
    same = batches(which, np.random.default_rng(0))
    other = batches(which, np.random.default_rng(1))
    assert first["comment_mask"].sum(1).tolist() == [5, 5, 5, 5]
    assert torch.equal(first["comment_index"], same["comment_index"])
    rows = [first["comment_ids"][row].tolist() for row in first["comment_index"][0]]
    said = {tuple(trained.collator.comment_ids(comment)) for comment in clips[0].context}
    assert {tuple(t for t in row if t) for row in rows} <= {tuple(t for t in row if t) for row in said}
    drawn = [b["comment_ids"][b["comment_index"]].tolist() for b in (first, other)]
    assert drawn[0] != drawn[1]
    plain = dataclasses.replace(batches, collator=trained.collator)(which, np.random.default_rng(0))
    assert plain["comment_mask"].sum(1).tolist() == [min(15, len(e.view.context)) for e in examples[:4]]


def test_a_leak_is_refused_unless_it_is_wanted(dummies: ModuleType, tmp_path: Any) -> None:
    from videochat.benchmark.released.clips import ReleasedDataset
    from videochat.benchmark.released.protocol import RELEASED
    from videochat.models.checkpoint import check_fits, recordings_of

    data = dummies.make_dataset(tmp_path / "ws", num_channels=3, recordings_per_channel=1, clips_per_recording=12)
    leaked = ReleasedDataset(data, RELEASED, seed=0)
    info = {"needs": [], "train_recordings": recordings_of(leaked, "train")}
    with pytest.raises(Mismatch, match=r"trained on \d of the recordings"):
        check_fits("sfat", info, leaked, "train again")
    check_fits("sfat", info, leaked, "train again", may_have_seen=True)
