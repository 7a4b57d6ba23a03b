"""Candidate sets of real chats: the groups fit nearly every clip, and `classic` leaks as PROTOCOL says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.candidates.sets import CandidateSets
from videochat.benchmark.texts.tfidf import TfIdf
from videochat.build import build
from videochat.cleaning.run import clean
from videochat.dataset import Dataset
from videochat.sources.items import ImportItem
from videochat.sources.local import import_recordings
from videochat.workspace import Workspace

pytestmark = [pytest.mark.fixtures, pytest.mark.slow]

CHATS = ("no6a2ab631", "noa0235bff", "ra55667ab0", "ra739d751a", "ne11e0ac65", "arfee2f338")  # the first has 22 clips


@pytest.fixture(scope="module")
def real_chats(tmp_path_factory: pytest.TempPathFactory, real: Path) -> tuple[Workspace, Dataset]:
    """Six real chats, imported, cleaned and built text-only, all of them in the test split."""
    workspace = Workspace.open(tmp_path_factory.mktemp("real"), create=True, split_by="test")
    items = [
        ImportItem(chat=real / "chat" / "gql" / f"{name}.comments.json.gz", category="Just Chatting", channel=name[:2])
        for name in CHATS
    ]
    import_recordings(workspace, items, num_workers=1)
    clean(workspace, num_workers=1)
    build(workspace, text_only=True)
    return workspace, Dataset.open(workspace.root)


def recall_at_1(scores: np.ndarray, truth: int) -> float:
    above, tied = (scores > scores[truth]).sum(), (scores == scores[truth]).sum() - 1
    return float(np.clip((1 - above) / (tied + 1), 0, 1))


def tfidf_recall(sets: CandidateSets, data: Dataset, name: str, sign: int) -> float:
    """R@1 of (reversed) TF-IDF similarity to the joined context; no training split, so of plain word overlap."""
    tfidf, part = TfIdf.fit([]), sets[name]
    contexts = {clip.clip_id: " ".join(c.text for c in clip.context) for clip in data.clips("test")}
    texts, joined = tfidf.transform(list(sets.texts.texts)), tfidf.transform([contexts[clip] for clip in part.clip_ids])
    found = []
    for row, ids in enumerate(part.candidates):
        scores = np.round((texts[ids] @ joined[row].T).toarray().ravel(), 12)
        found.append(recall_at_1(sign * scores, int(part.truth_positions[row])))
    return float(np.mean(found))


def test_groups_leave_out_only_what_ten_does_not_divide(real_chats: tuple[Workspace, Dataset]) -> None:
    sets = build_candidates(*real_chats, "v1")
    with_truth = sets.manifest["num_clips"]["test"] - sets.manifest["drops"]["no-truth"]["test"]
    for name, facts in sets.manifest["sets"].items():
        assert facts["num_clips"]["test"] >= 0.97 * with_truth, name
        assert facts["left_out"].get("conflicts", 0) <= 0.01 * with_truth, name
        short = [group for group in set(sets[name].group_ids) if "no6a2ab631" in group]
        assert len(short) <= 2


def test_clip_blind_statistics_are_at_chance_in_v1(real_chats: tuple[Workspace, Dataset]) -> None:
    sets = build_candidates(*real_chats, "v1")
    for part in sets.values():
        lengths = np.array([len(text) for text in sets.texts.texts], dtype=np.float64)
        for sign in (1, -1):
            hits = [
                recall_at_1(sign * lengths[ids], int(truth))
                for ids, truth in zip(part.candidates, part.truth_positions, strict=True)
            ]
            assert np.mean(hits) == pytest.approx(0.1, abs=1e-12)


def test_the_reversed_statistic_wins_classic_and_not_v1(real_chats: tuple[Workspace, Dataset]) -> None:
    """PROTOCOL: .90 against .02 on the Cosine set of the usual construction, .08 against .22 in balanced groups."""
    _, data = real_chats
    classic = build_candidates(*real_chats, "classic")
    assert tfidf_recall(classic, data, "cosine10", -1) > 0.8
    assert tfidf_recall(classic, data, "cosine10", 1) < 0.05
    balanced = build_candidates(*real_chats, "v1")
    assert tfidf_recall(balanced, data, "cosine10", -1) < 0.1
    assert tfidf_recall(balanced, data, "cosine10", 1) > 0.15
