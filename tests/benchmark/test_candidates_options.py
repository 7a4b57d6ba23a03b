"""Candidate sets by options: several truths, other pools, other similarities, any K, mixtures, protocols from files."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videochat.benchmark.audits.gate import audit
from videochat.benchmark.audits.validation import validate_candidates
from videochat.benchmark.candidates.build import assemble, build_candidates, load_candidates
from videochat.benchmark.candidates.classic import make_classic
from videochat.benchmark.candidates.material import Material
from videochat.benchmark.candidates.sets import CandidateSets
from videochat.benchmark.candidates.similarity import VectorSimilarity
from videochat.benchmark.evaluation.evaluate import Entry, evaluate
from videochat.benchmark.protocol_files import read_protocol, resolve
from videochat.benchmark.protocols import PROTOCOLS, Protocol
from videochat.benchmark.runs.run import read_tasks, write_tasks
from videochat.benchmark.scorers.golden import golden_blocks
from videochat.benchmark.scores.tasks import make_tasks
from videochat.benchmark.texts.corpus import Corpus
from videochat.benchmark.texts.keys import key
from videochat.dataset import Dataset
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.schema import Clip
from videochat.workspace import Workspace

CLASSIC = PROTOCOLS["classic"]

# Roots of the sets that the code of version 0.1.0 made of the same dummies: every later one makes the same.
DIGESTS = {
    "v1": {"random10": "cec9cf1c2151842c", "cosine10": "07a35c49db16ab41", "popularity10": "52796bbdcb9811fb"},
    "classic": {"random10": "a997ab36c77e3d91", "cosine10": "0fb9797f5b1c678b", "popularity10": "2d8e0ba9b13d8f8c"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> tuple[Workspace, Dataset, dict[str, Clip]]:
    folder = tmp_path_factory.mktemp("options")
    data = dummies.make_dataset(folder, num_channels=4, recordings_per_channel=2, clips_per_recording=40, dim=None)
    return Workspace.open(folder), data, {clip.clip_id: clip for clip in data.clips()}


def protocol(**options: Any) -> Protocol:
    return dataclasses.replace(CLASSIC, **{"name": "mine", **options})


def keys_said(clip: Clip) -> set[str]:
    return {key(c.text) for c in (*clip.context, *clip.responses)}


def test_the_built_in_sets_are_what_they_were(world: tuple[Workspace, Dataset, dict[str, Clip]]) -> None:
    workspace, data, _ = world
    for name, digests in DIGESTS.items():
        assert {n: part.digest[:16] for n, part in assemble(workspace, data, PROTOCOLS[name]).items()} == digests


@pytest.mark.parametrize("truths_from", ["second", "responses"])
def test_several_truths(world: tuple[Workspace, Dataset, dict[str, Clip]], truths_from: str) -> None:
    workspace, data, clips = world
    declared = protocol(max_truths=3, truths_from=truths_from)
    sets = build_candidates(workspace, data, declared)
    numbers = Counter()
    for part in sets.values():
        assert part.other_truths is not None
        assert part.other_truths.shape == (len(part), 2)
        for clip_id, row, first, others in zip(
            part.clip_ids, part.candidates.tolist(), part.truths.tolist(), part.other_truths.tolist(), strict=True
        ):
            clip = clips[clip_id]
            truths = [first, *(other for other in others if other >= 0)]
            keys = [sets.texts.keys[truth] for truth in truths]
            assert len({sets.texts.keys[c] for c in row}) == 10, "unique candidates"
            assert set(truths) <= set(row)
            assert len(set(keys)) == len(keys)
            assert not {sets.texts.keys[c] for c in row if c not in truths} & keys_said(clip)
            assert not set(keys) & {key(c.text) for c in clip.context}
            said = {c.text: c.offset_ms // 1000 for c in clip.responses}
            if truths_from == "second":
                assert len({said[sets.texts.texts[truth]] for truth in truths}) == 1
            else:
                assert len(truths) == min(3, len({key(text) for text in said}))
            numbers[len(truths)] += 1
    assert max(numbers) == (2 if truths_from == "second" else 3), "two of the dummies' responses share a second"
    loaded = load_candidates(workspace, data, "mine")
    for name, part in loaded.items():
        assert part.digest == sets[name].digest
        assert part.other_truths is not None
        assert part.other_truths.tolist() == sets[name].other_truths.tolist()  # type: ignore[union-attr]


def test_a_changed_truth_is_found_out(tmp_path: Path, dummies: ModuleType) -> None:
    data = dummies.make_dataset(tmp_path, num_channels=3, recordings_per_channel=1, clips_per_recording=30, dim=None)
    workspace = Workspace.open(tmp_path)
    declared = protocol(max_truths=3, truths_from="responses", sets=("random",))
    sets = build_candidates(workspace, data, declared)
    path = workspace.candidates_dir("mine") / "random10.parquet"
    table = pq.read_table(path, partitioning=None)
    others = table["other_truths"].to_pylist()
    others[0] = [
        next(c for c in table["candidates"].to_pylist()[0] if c not in [*others[0], table["truth"][0].as_py()]),
        -1,
    ]
    field = table.schema.field("other_truths")
    table = table.set_column(table.column_names.index(field.name), field, pa.array(others, field.type))
    pq.write_table(table, path)
    manifest = json.loads((path.parent / "manifest.json").read_text())
    from videochat.files import digest_file

    manifest["sets"]["random10"]["sha256"] = digest_file(path)
    (path.parent / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Mismatch, match="was changed after it was frozen"):
        load_candidates(workspace, data, declared)
    assert len(sets["random10"])


def test_golden_scorers_hold_with_several_truths(world: tuple[Workspace, Dataset, dict[str, Clip]]) -> None:
    workspace, data, _ = world
    for k in (4, 10):
        sets = assemble(workspace, data, protocol(max_truths=3, truths_from="responses", k=k))
        tasks = make_tasks(sets)
        assert all(set(task.is_truth.sum(axis=1)) <= {2, 3} for task in tasks if len(task))
        blocks = [block for task in tasks for block in golden_blocks(task)]
        golden = audit(tasks, blocks, clip_blind_at_chance=False)
        assert len(golden) == 4 * len(tasks)
        assert all(check.ok for check in golden), [check.detail for check in golden if not check.ok]


@pytest.mark.parametrize("pool", ["recording", "category", "split"])
def test_negatives_come_from_the_pool(world: tuple[Workspace, Dataset, dict[str, Clip]], pool: str) -> None:
    workspace, data, clips = world
    sets = assemble(workspace, data, protocol(pool=pool))
    places = Counter()
    for part in sets.values():
        assert len(part) == 160
        for clip_id, sources in zip(part.clip_ids, part.sources.tolist(), strict=True):
            for source in sources:
                assert clips[source].split == clips[clip_id].split
                same_recording = clips[source].recording_id == clips[clip_id].recording_id
                places["recording" if same_recording else "category"] += 1
                assert same_recording or pool != "recording"
                assert clips[source].category == clips[clip_id].category or pool == "split"
    assert (places["category"] > 0) == (pool != "recording")


@pytest.mark.parametrize("k", [2, 3, 37])
def test_any_k(world: tuple[Workspace, Dataset, dict[str, Clip]], k: int) -> None:
    workspace, data, _ = world
    sets = assemble(workspace, data, CLASSIC, k=k)
    assert list(sets) == [f"{kind}{k}" for kind in CLASSIC.sets]
    for part in sets.values():
        assert part.candidates.shape == (160, k)
        assert len(set(part.truth_positions.tolist())) > 1


def material(data: Dataset, declared: Protocol) -> Material:
    return Material.read(data, ("dev", "test"), declared, seed=0)


def test_the_mixture_is_popular_then_similar_then_random(world: tuple[Workspace, Dataset, dict[str, Clip]]) -> None:
    """LiveBot's shares at K = 20: four popular, four similar, the rest random."""
    _, data, _ = world
    options = {"pool": "split", "k": 20}
    mixed = make_classic(material(data, protocol(sets=("mixed",), **options)), 20)["mixed"].items
    plain = material(data, protocol(sets=("random", "cosine", "popularity"), **options))
    apart = {kind: {i.clip: i for i in built.items} for kind, built in make_classic(plain, 5).items()}
    assert len(mixed) == 160
    for item in mixed:
        truth = int(plain.truths[item.clip])
        popular = set(apart["popularity"][item.clip].candidates) - {truth}  # the four most popular
        assert popular < set(item.candidates)
        similar = set(apart["cosine"][item.clip].candidates) - {truth}
        assert len((similar | popular) & set(item.candidates)) >= len(similar | popular) - len(similar & popular)


def test_blocks_change_nothing_in_large_pools(
    world: tuple[Workspace, Dataset, dict[str, Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data, _ = world
    declared = protocol(pool="split", sets=("mixed", "cosine"), max_truths=2)
    whole = make_classic(material(data, declared), 10)
    monkeypatch.setattr("videochat.benchmark.candidates.classic.BLOCK_CELLS", 5_000)
    assert make_classic(material(data, declared), 10) == whole


def test_cosine_by_vectors_takes_the_nearest_to_the_mean_of_the_context(
    world: tuple[Workspace, Dataset, dict[str, Clip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data, _ = world
    declared = protocol(sets=("cosine",), pool="category")
    plain = material(data, declared)
    corpus: Corpus = plain.corpus
    vectors = np.random.default_rng(0).standard_normal((len(corpus.texts), 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    monkeypatch.setattr("videochat.benchmark.candidates.similarity.BLOCK_TEXTS", 100)
    made = Material(corpus, corpus, declared, seed=0, similarity=lambda found: VectorSimilarity(found.corpus, vectors))
    wide = vectors.astype(np.float64)
    for item in make_classic(made, 10)["cosine"].items[::9]:
        context = wide[corpus.context.of(item.clip)].sum(axis=0)
        place = (corpus.splits[item.clip], corpus.categories[item.clip])
        pool = {
            int(text)
            for clip in range(len(corpus))
            if (corpus.splits[clip], corpus.categories[clip]) == place
            for text in (*corpus.context.of(clip), *corpus.responses.of(clip))
        }
        own = corpus.keys_of(item.clip)
        nearness = wide @ (context / np.linalg.norm(context))
        best = sorted((nearness[text] for text in pool if corpus.key_of[text] not in own), reverse=True)
        found = sorted((nearness[c] for c in item.candidates if c != made.truths[item.clip]), reverse=True)
        assert found == pytest.approx(best[:9], abs=2e-6)


def test_clip_similarity_needs_text_embeddings(world: tuple[Workspace, Dataset, dict[str, Clip]]) -> None:
    workspace, data, _ = world
    with pytest.raises(MissingInput, match="text embeddings"):
        assemble(workspace, data, protocol(similarity="clip"))
    with pytest.raises(MissingInput, match=r"no sentence encoder at \./nowhere"):
        assemble(workspace, data, protocol(similarity="./nowhere"))


# -- protocols from files

MINE = """
name = "mine"
version = "2.1"
summary = "several truths"
construction = "chosen-negatives"
sets = ["cosine", "random"]
k = 8
pool = "category"
max_truths = 4
truths_from = "responses"
popular_share = 0
"""


def test_a_file_declares_a_protocol_and_its_digest_is_in_the_label(
    tmp_path: Path, world: tuple[Workspace, Dataset, dict[str, Clip]]
) -> None:
    workspace, data, _ = world
    path = tmp_path / "my.toml"
    path.write_text(MINE)
    found = resolve(str(path))
    assert (found.k, found.sets, found.max_truths) == (8, ("cosine", "random"), 4)
    assert found.label == f"mine-2.1+{found.digest[:8]}"
    (tmp_path / "my.json").write_text(json.dumps(found.to_json()))
    assert read_protocol(tmp_path / "my.json") == found
    sets = build_candidates(workspace, data, str(path))
    assert list(sets) == ["cosine8", "random8"]
    assert sets.manifest["declaration_digest"] == found.digest
    assert load_candidates(workspace, data, "mine").declaration == found
    path.write_text(MINE.replace("max_truths = 4", "max_truths = 3"))
    with pytest.raises(Mismatch, match="another declaration"):
        load_candidates(workspace, data, str(path))
    assert "declaration" not in assemble(workspace, data, CLASSIC).manifest, "built-ins keep their bytes"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('name = "classic"', "name of a built-in"),
        ('name = "released-mine"', "name of a built-in"),
        ('name = "../mine"', "no folder name"),
        ('version = "1|2"', "signature"),
        ("num_negatives = 9", "no fields"),
        ('k = "ten"', "k = 'ten' is no int"),
        ("k = true", "k = True is no int"),
        ('sets = ["plausible"]', "plausible"),
        ('pool = "world"', "pool is 'world'"),
        ("max_truths = 8", "max_truths is 8"),
        ("popular_share = 0.9", "not shares"),
        ('construction = "balanced-groups"', "balanced groups have one truth"),
        ('construction = "other"', "construction"),
        ('track = "at-comment"', "at-comment has one truth"),
        ("= nonsense", "cannot be read"),
    ],
)
def test_what_a_file_gets_wrong_is_said(tmp_path: Path, line: str, message: str) -> None:
    name = line.partition(" =")[0]
    kept = [old for old in MINE.splitlines() if not (name and old.startswith(f"{name} ="))]
    path = tmp_path / "my.toml"
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(UsageError, match=message.replace("|", r"\|")) as caught:
        read_protocol(path)
    assert caught.value.fix


def test_no_file_and_no_such_protocol(world: tuple[Workspace, Dataset, dict[str, Clip]], tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no protocol at"):
        resolve(str(tmp_path / "nothing.toml"))
    with pytest.raises(UsageError, match="did you mean 'classic'"):
        resolve("clasic", world[0])
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UsageError, match="holds no fields"):
        read_protocol(tmp_path / "list.json")


# -- a real sentence encoder, small and random


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "look", "at", "the", "one", "number", "nice", "so", "lol", "red", "blue", "green", "cat"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_vectors_are_the_means_over_a_texts_tokens(encoder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from videochat.benchmark.texts.sentence_encoder import encode

    texts = ["look at the cat", "lol", "", "so nice number one", "lol"]
    found = encode(str(encoder), texts)
    assert found.dtype == np.float16
    assert not found[2].any(), "a text without tokens"
    assert found[1].tobytes() == found[4].tobytes() == encode(str(encoder), ["lol"])[0].tobytes()
    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    said = [text for text in texts if text]
    batch = tokenizer(said, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    means = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()
    np.testing.assert_allclose(found[[0, 1, 3, 4]], means, atol=2e-3)


@pytest.mark.slow
def test_an_encoder_names_itself_in_the_manifest_and_another_one_rebuilds(
    tmp_path: Path, dummies: ModuleType, encoder: Path
) -> None:
    import shutil

    data = dummies.make_dataset(
        tmp_path / "d", num_channels=3, recordings_per_channel=1, clips_per_recording=30, dim=None
    )
    workspace = Workspace.open(tmp_path / "d")
    declared = protocol(similarity=str(encoder), sets=("cosine",))
    sets = build_candidates(workspace, data, declared)
    facts = sets.manifest["similarity"]
    assert facts["encoder"] == encoder.name
    assert {"config.json", "model.safetensors"} <= set(facts["files"])
    assert str(encoder) not in json.dumps(facts)
    grouped = assemble(workspace, data, dataclasses.replace(PROTOCOLS["v1"], name="own", similarity=str(encoder)))
    plain = assemble(workspace, data, PROTOCOLS["v1"])
    assert grouped["cosine10"].candidates.tolist() != plain["cosine10"].candidates.tolist()
    other = tmp_path / "encoder"
    shutil.copytree(encoder, other)
    config = json.loads((other / "config.json").read_text()) | {"layer_norm_eps": 1e-3}
    (other / "config.json").write_text(json.dumps(config))
    changed = build_candidates(workspace, data, protocol(similarity=str(other), sets=("cosine",)))
    assert changed.manifest["stamp"] != sets.manifest["stamp"]


def test_the_page_on_protocols_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Protocol):
        assert f"`{field.name}`" in page, field.name
    for name in PROTOCOLS:
        assert f"`{name}`" in page, name


def test_the_promises_of_several_truths_are_checked(tmp_path: Path, dummies: ModuleType) -> None:
    data = dummies.make_dataset(tmp_path, num_channels=3, recordings_per_channel=1, clips_per_recording=30, dim=None)
    workspace = Workspace.open(tmp_path)
    build_candidates(workspace, data, protocol(max_truths=3, truths_from="responses", pool="split"))
    findings = validate_candidates(workspace)
    assert len(findings) == 1 + 3 * 3
    assert all(found.ok for found in findings), [found.detail for found in findings if not found.ok]
    manifest = workspace.candidates_dir("mine") / "manifest.json"
    facts = json.loads(manifest.read_text())
    del facts["declaration"]
    manifest.write_text(json.dumps(facts))
    assert [found.ok for found in validate_candidates(workspace)] == [False], "nobody says what made these sets"


def test_runs_keep_several_truths_and_no_order_moves_a_digit(
    tmp_path: Path, world: tuple[Workspace, Dataset, dict[str, Clip]]
) -> None:
    workspace, data, _ = world
    several = assemble(workspace, data, protocol(max_truths=3, truths_from="responses"))
    tasks = make_tasks(several)
    write_tasks(tmp_path / "candidates.parquet", tasks)
    for one, other in zip(tasks, read_tasks(tmp_path / "candidates.parquet"), strict=True):
        assert one.is_truth.tolist() == other.is_truth.tolist()
        assert one.all_truths.tolist() == other.all_truths.tolist()
    single = make_tasks(assemble(workspace, data, CLASSIC))
    write_tasks(tmp_path / "single.parquet", single)
    assert "other_truths" not in pq.read_schema(tmp_path / "single.parquet").names, "runs of one truth keep their bytes"
    assert all(task.other_truths is None for task in read_tasks(tmp_path / "single.parquet"))

    def metrics(sets: CandidateSets) -> str:
        found = [task for task in make_tasks(sets) if task.split == "test"]
        blocks = [block for task in found for block in golden_blocks(task)]
        return json.dumps(evaluate([Entry(name="golden-random", kind="golden")], found, blocks).metrics)

    random = np.random.default_rng(0)
    mixed = {}
    for name, part in several.items():
        order = random.permutation(len(part))
        shuffled = part.take(order)
        columns = random.permuted(np.tile(np.arange(part.k), (len(part), 1)), axis=1)
        mixed[name] = dataclasses.replace(
            shuffled,
            candidates=np.take_along_axis(shuffled.candidates, columns, axis=1),
            other_truths=shuffled.other_truths[:, ::-1],  # type: ignore[index]
        )
    assert metrics(dataclasses.replace(several, sets=mixed)) == metrics(several)
    rows = json.loads(metrics(several))["rows"]
    assert {row["num_clips"] for row in rows if row["stratum"] == "all"} == {80}
