"""Candidate sets as files: frozen, hashed, current or refused, and the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videochat.benchmark.candidates.build import assemble, build_candidates, describe, load_candidates, plan_candidates
from videochat.benchmark.protocols import PROTOCOLS
from videochat.benchmark.texts.keys import key
from videochat.dataset import Dataset
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.files import write_parquet
from videochat.schema import texts_schema
from videochat.workspace import Workspace

DIM = 8


def workspace_of(folder: Path, dummies: ModuleType, **sizes: int) -> tuple[Workspace, Dataset]:
    sizes = {"clips_per_recording": 60} | sizes
    data = dummies.make_dataset(folder, **{"num_channels": 3, "recordings_per_channel": 1, "dim": DIM, **sizes})
    return Workspace.open(folder), data


def write_texts(workspace: Workspace, data: Dataset, **fingerprint: str) -> dict[str, np.ndarray]:
    """texts/<recording>.parquet as build-features writes them; text -> its embedding."""
    said: dict[str, set[str]] = {}
    for clip in data.clips():
        said.setdefault(clip.recording_id, set()).update(c.text for c in (*clip.context, *clip.responses))
    vectors = {}
    for recording, texts in said.items():
        for text in texts:
            random = np.random.default_rng(len(vectors))
            vectors.setdefault(text, random.standard_normal(DIM).astype(np.float16))
        flat = pa.array(np.concatenate([vectors[text] for text in sorted(texts)]), pa.float16())
        table = pa.table(
            {"text": sorted(texts), "embedding": pa.FixedSizeListArray.from_arrays(flat, DIM)},
            schema=texts_schema(DIM),
        )
        fact = {"stamp": "s", "fingerprint": {"model": "dummy"} | fingerprint}
        write_parquet(table, workspace.texts_path(recording), fact)
    return vectors


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> tuple[Workspace, Dataset]:
    """A workspace with the sets of both protocols, for tests that only read."""
    workspace, data = workspace_of(tmp_path_factory.mktemp("frozen"), dummies)
    for protocol in PROTOCOLS:
        build_candidates(workspace, data, protocol)
    return workspace, data


def contents(workspace: Workspace, protocol: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(workspace.candidates_dir(protocol).iterdir())}


@pytest.mark.parametrize("protocol", ["v1", "classic"])
def test_what_is_loaded_is_what_was_built(tmp_path: Path, dummies: ModuleType, protocol: str) -> None:
    workspace, data = workspace_of(tmp_path, dummies)
    built = build_candidates(workspace, data, protocol)
    loaded, clusters = load_candidates(workspace, data, protocol), data.clusters()
    assert list(built) == list(loaded) == ["random10", "cosine10", "popularity10"]
    assert (loaded.protocol, loaded.version) == (protocol, PROTOCOLS[protocol].version)
    assert loaded.manifest == json.loads(json.dumps(built.manifest))
    assert list(loaded.texts.texts) == list(built.texts.texts)
    assert list(loaded.texts.keys) == [key(text) for text in loaded.texts.texts]
    for name, part in loaded.items():
        assert len(part) > 0
        assert set(part.splits) == {"dev", "test"}
        assert part.candidates.dtype == part.truths.dtype == np.int32
        assert part.candidates.shape == (len(part), 10)
        for column in ("clip_ids", "clusters", "group_ids", "candidates", "truths", "generic", "sources", "digests"):
            np.testing.assert_array_equal(getattr(part, column), getattr(built[name], column))
        order = list(zip(part.splits, part.group_ids, part.clip_ids, strict=True))
        assert order == sorted(order)
        np.testing.assert_array_equal(part.candidates[np.arange(len(part)), part.truth_positions], part.truths)
        assert [clusters[clip] for clip in part.clip_ids] == part.clusters.tolist()


def test_truths_are_responses_and_sources_hold_the_candidates(frozen: tuple[Workspace, Dataset]) -> None:
    workspace, data = frozen
    clips = {clip.clip_id: clip for clip in data.clips()}
    for protocol in PROTOCOLS:
        sets = build_candidates(workspace, data, protocol)
        for part in sets.values():
            for row, clip in enumerate(part.clip_ids):
                assert sets.texts.texts[part.truths[row]] in {c.text for c in clips[clip].responses}
                for text, source in zip(part.candidates[row], part.sources[row], strict=True):
                    origin = clips[source]
                    assert sets.texts.texts[text] in {c.text for c in (*origin.context, *origin.responses)}


def test_a_part_of_a_split_and_the_union_of_candidates(frozen: tuple[Workspace, Dataset]) -> None:
    workspace, data = frozen
    sets = build_candidates(workspace, data, "v1")
    test = sets["cosine10"].split("test")
    assert set(test.splits) == {"test"}
    assert test.digest == sets["cosine10"].digest
    assert len(test) + len(sets["cosine10"].split("dev")) == len(sets["cosine10"])
    union = sets.clip_union("test")
    assert list(union) == sorted({clip for part in sets.values() for clip in part.split("test").clip_ids})
    for part in (part.split("test") for part in sets.values()):
        for clip, row in zip(part.clip_ids, part.candidates.tolist(), strict=True):
            assert set(row) <= set(union[clip])
    assert all(list(row) == sorted(set(row)) for row in union.values())
    assert sets.clip_union("train") == {}


def test_the_same_bytes_again_elsewhere_and_after_a_kill(tmp_path: Path, dummies: ModuleType) -> None:
    first, data = workspace_of(tmp_path / "a", dummies)
    second, same = workspace_of(tmp_path / "b", dummies)
    for protocol in PROTOCOLS:
        build_candidates(first, data, protocol)
        build_candidates(second, same, protocol)
        assert contents(first, protocol) == contents(second, protocol)
        whole = contents(first, protocol)
        folder = first.candidates_dir(protocol)
        (folder / "manifest.json").unlink()  # what a kill between the files and the manifest leaves
        next(folder.glob("*[0-9].parquet")).unlink()
        with pytest.raises(MissingInput, match=f"videochat candidates --protocol {protocol}"):
            load_candidates(first, data, protocol)
        build_candidates(first, data, protocol)
        assert contents(first, protocol) == whole


def test_current_sets_are_left_alone(frozen: tuple[Workspace, Dataset]) -> None:
    workspace, data = frozen
    build_candidates(workspace, data, "v1")
    before = {path: path.stat().st_mtime_ns for path in workspace.candidates_dir("v1").iterdir()}
    build_candidates(workspace, data, "v1")
    assert {path: path.stat().st_mtime_ns for path in workspace.candidates_dir("v1").iterdir()} == before


def test_sets_of_other_shards_are_refused_and_rebuilt(tmp_path: Path, dummies: ModuleType) -> None:
    workspace, data = workspace_of(tmp_path, dummies)
    build_candidates(workspace, data, "v1")
    changed = dummies.make_dataset(tmp_path, num_channels=3, clips_per_recording=40, dim=DIM, seed=1)
    with pytest.raises(Mismatch, match=r"made for shards .* not for"):
        load_candidates(workspace, changed, "v1")
    sets = build_candidates(workspace, changed, "v1")
    assert sets.manifest["data_digest"] == changed.digest != data.digest
    assert load_candidates(workspace, changed, "v1").manifest == sets.manifest


def test_another_k_replaces_the_sets(tmp_path: Path, dummies: ModuleType) -> None:
    workspace, data = workspace_of(tmp_path, dummies)
    build_candidates(workspace, data, "v1")
    five = build_candidates(workspace, data, "v1", k=5)
    assert list(load_candidates(workspace, data, "v1")) == list(five) == ["random5", "cosine5", "popularity5"]
    assert set(contents(workspace, "v1")) == {"manifest.json", "texts.parquet", *(f"{name}.parquet" for name in five)}
    with pytest.raises(UsageError, match="K = 1001"):
        build_candidates(workspace, data, "v1", k=1001)
    with pytest.raises(UsageError, match="unknown protocol"):
        build_candidates(workspace, data, "v2")


def test_sets_of_several_sizes_share_a_folder_and_the_pool_is_told(tmp_path: Path, dummies: ModuleType) -> None:
    data = dummies.make_dataset(
        tmp_path, num_channels=3, recordings_per_channel=3, clips_per_recording=90, dim=None, split_by="recording"
    )
    workspace = Workspace.open(tmp_path)
    alone = build_candidates(workspace, data, "v1")
    sets = build_candidates(workspace, data, "v1", k=[100, 10])
    kinds = PROTOCOLS["v1"].sets
    assert list(sets) == [f"{kind}{k}" for k in (10, 100) for kind in kinds]
    assert list(load_candidates(workspace, data, "v1")) == list(sets)
    assert {name: sets.manifest["sets"][name]["pool"] for name in ("random10", "random100")} == {
        "random10": "recording",
        "random100": "category",
    }
    assert [sets[name].digest for name in alone] == [part.digest for part in alone.values()], "beside it, not instead"
    assert len(sets["random100"]) >= 100
    told = describe(sets)
    assert "pooled over the recordings of a category: random100, cosine100, popularity100" in told
    huge = build_candidates(workspace, data, "v1", k=500)
    assert not any(len(part) for part in huge.values())
    assert "no set of 500 could be made: it takes 500 clips with a truth in one category of a split" in describe(huge)
    assert load_candidates(workspace, data, "v1").manifest == huge.manifest


def test_a_changed_file_is_refused(tmp_path: Path, dummies: ModuleType) -> None:
    workspace, data = workspace_of(tmp_path, dummies)
    build_candidates(workspace, data, "v1")
    folder = workspace.candidates_dir("v1")

    def spoil(name: str, column: str, values: list[object]) -> None:
        table = pq.read_table(folder / name)
        place = table.column_names.index(column)
        original = (folder / name).read_bytes()
        field = table.field(place)
        pq.write_table(table.set_column(place, field, pa.array(values, field.type)), folder / name)
        with pytest.raises(Mismatch, match="changed after it was frozen"):
            load_candidates(workspace, data, "v1")
        (folder / name).write_bytes(original)
        load_candidates(workspace, data, "v1")

    rows = pq.read_table(folder / "random10.parquet")
    spoil("random10.parquet", "candidates", [row[::-1] for row in rows["candidates"].to_pylist()])
    spoil("random10.parquet", "candidates", [row[:9] for row in rows["candidates"].to_pylist()])
    spoil("random10.parquet", "truth", [row[0] for row in rows["candidates"].to_pylist()])
    spoil("random10.parquet", "group_id", ["one"] * rows.num_rows)
    spoil("random10.parquet", "generic", [True] * rows.num_rows)
    texts = pq.read_table(folder / "texts.parquet")
    spoil("texts.parquet", "text", texts["text"].to_pylist()[::-1])
    for content in (b"PAR1", b""):
        (folder / "random10.parquet").write_bytes(content)
        with pytest.raises(Mismatch, match="changed after it was frozen"):
            load_candidates(workspace, data, "v1")
    (folder / "random10.parquet").unlink()
    with pytest.raises(Mismatch, match="missing"):
        load_candidates(workspace, data, "v1")


def test_digests_of_items_do_not_depend_on_other_items(tmp_path: Path, dummies: ModuleType) -> None:
    """Taking recordings away renumbers the texts and leaves the digests of all other items."""
    workspace, data = workspace_of(tmp_path / "all", dummies, recordings_per_channel=2, clips_per_recording=40)
    both = build_candidates(workspace, data, "v1")["random10"]
    kept = {d for d, r in zip(both.digests, both.recording_ids, strict=True) if r.endswith("-0")}
    table = data.table()
    few = table.filter(pa.compute.ends_with(table["recording_id"], "-0"))
    from videochat.build import write_dataset

    smaller = Workspace.open(tmp_path / "few", create=True)
    write_dataset(
        smaller,
        [
            (row["split"][0].as_py(), row["category"][0].as_py(), row["recording_id"][0].as_py(), row)
            for row in (few.slice(n, 1) for n in range(few.num_rows))
        ],
        dim=DIM,
        facts={"simulated": True, "split_by": "channel", "clip_fingerprint": {"model": "dummy"}},
    )
    alone = build_candidates(smaller, Dataset.open(smaller.root), "v1")["random10"]
    assert kept
    assert set(alone.digests) == kept
    assert alone.digest != both.digest


def test_embeddings_are_looked_up_in_the_workspace(tmp_path: Path, dummies: ModuleType) -> None:
    workspace, data = workspace_of(tmp_path, dummies)
    assert build_candidates(workspace, data, "v1").texts.embeddings is None, "no texts/ folder, no column"
    vectors = write_texts(workspace, data)
    build_candidates(workspace, data, "v1")
    texts = load_candidates(workspace, data, "v1").texts
    assert texts.embeddings is not None
    assert texts.embeddings.dtype == np.float16
    np.testing.assert_array_equal(texts.embeddings, np.stack([vectors[text] for text in texts.texts]))


def test_embeddings_of_other_builds_are_refused(tmp_path: Path, dummies: ModuleType) -> None:
    workspace, data = workspace_of(tmp_path, dummies)
    write_texts(workspace, data, model="another")
    with pytest.raises(Mismatch, match="another CLIP model"):
        build_candidates(workspace, data, "v1")
    write_texts(workspace, data)
    path = workspace.texts_path("dummy-02-0")
    write_parquet(pq.read_table(path).slice(0, 3), path, {"stamp": "s"})
    with pytest.raises(Mismatch, match="does not hold the texts"):
        build_candidates(workspace, data, "v1")
    assert not workspace.candidates_dir("v1").exists()


def test_a_text_only_dataset_has_no_embedding_column(tmp_path: Path, dummies: ModuleType) -> None:
    data = dummies.make_dataset(tmp_path, num_channels=3, clips_per_recording=20, dim=None)
    workspace = Workspace.open(tmp_path)
    build_candidates(workspace, data, "classic")
    assert pq.read_schema(workspace.candidates_dir("classic") / "texts.parquet").names == ["text", "key"]


def test_sets_of_the_training_split_are_made_in_memory_alone(tmp_path: Path, dummies: ModuleType) -> None:
    workspace, data = workspace_of(tmp_path, dummies)
    sets = assemble(workspace, data, PROTOCOLS["v1"], splits=("train",))
    assert set(sets["random10"].splits) == {"train"}
    assert not workspace.candidates_dir("v1").exists()


@pytest.mark.parametrize("protocol", ["v1", "classic"])
def test_a_dataset_of_one_split_has_sets_too(tmp_path: Path, dummies: ModuleType, protocol: str) -> None:
    """`--split test`: no training split, so no generic keys and equal IDF."""
    data = dummies.make_dataset(tmp_path, num_channels=1, clips_per_recording=60, split_by="test")
    sets = build_candidates(Workspace.open(tmp_path), data, protocol)
    assert sets.manifest["generic_keys"] == []
    assert len(sets["cosine10"]) > 0
    assert not sets["cosine10"].generic.any()


def test_generic_truths_are_marked(frozen: tuple[Workspace, Dataset]) -> None:
    workspace, data = frozen
    sets = build_candidates(workspace, data, "classic")
    part = sets["random10"]
    marked = {sets.texts.keys[truth] for truth in part.truths[part.generic]}
    assert "lol" in marked
    assert marked <= set(sets.manifest["generic_keys"])
    assert not marked & {sets.texts.keys[truth] for truth in part.truths[~part.generic]}


def test_the_coverage_adds_up_and_is_told(frozen: tuple[Workspace, Dataset]) -> None:
    workspace, data = frozen
    sets = build_candidates(workspace, data, "v1")
    manifest = sets.manifest
    for name, facts in manifest["sets"].items():
        placed, left = sum(facts["num_clips"].values()), sum(facts["left_out"].values())
        assert placed + left + sum(manifest["drops"]["no-truth"].values()) == sum(manifest["num_clips"].values())
        assert placed == len(sets[name]) == 10 * sum(facts["num_groups"].values())
    text = describe(sets)
    assert len(text.splitlines()) == 2 + len(sets)
    assert f"{manifest['sets']['random10']['left_out']['conflicts']} conflicts" in text
    plan = plan_candidates(data)
    assert plan["test_clips"] == 60
    written = sum(len(content) for content in contents(workspace, "v1").values())
    assert plan["bytes"] > 0.2 * written
