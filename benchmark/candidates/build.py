"""Make, freeze and load the candidate sets of a protocol.

    sets = build_candidates(workspace, dataset, "v1")     # candidates/v1/{random10,cosine10,popularity10}.parquet
    sets = load_candidates(workspace, dataset, "v1")      # refuses sets that were made for other shards

Files: texts.parquet (text, key, embedding), one Parquet file a set, and manifest.json, which is written last: where
it is, everything it names is whole. The same shards, seed and versions give the same bytes; every item has a digest,
every set the root of its items' digests, and both are checked when a set is loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import videochat
from videochat.commenter import TextTable
from videochat.errors import Mismatch, MissingInput
from videochat.files import damaged, digest_json, read_json

from ..protocol_files import declared_by, resolve
from ..protocols import Protocol
from ..texts.embeddings import has_embeddings, text_embeddings
from ..texts.keys import KEY_VERSION, keys
from .coverage import describe, plan_candidates
from .files import read_sets, write_sets
from .material import Built, Material
from .sets import CandidateSet, CandidateSets, item_digest, root_digest, texts_digest
from .similarity import WORDS, fingerprint_of

if TYPE_CHECKING:
    from pathlib import Path

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    from ..texts.corpus import Corpus

__all__ = ["assemble", "build_candidates", "describe", "load_candidates", "plan_candidates", "stamp_of"]

FORMAT_VERSION = 2  # changes whenever the same input gives other sets
RANKED_SPLITS = ("dev", "test")
MANIFEST_KEYS = ("data_digest", "format", "protocol", "sets", "stamp", "texts", "version")
MANIFEST_FIELDS = frozenset(
    {*MANIFEST_KEYS, "tool", "split_by", "seed", "num_clips", "drops", "generic_keys"}
    | {"declaration", "declaration_digest", "similarity", "succeeds"}
)
TEXTS_FIELDS = frozenset({"num", "digest", "embedded", "sha256"})
SET_FIELDS = frozenset({"set", "k", "pool", "digest", "sha256", "num_clips", "num_groups", "num_generic", "left_out"})


def build_candidates(
    workspace: Workspace, dataset: Dataset, protocol: str | Protocol = "v1", *, k: int | Sequence[int] | None = None
) -> CandidateSets:
    """Make and write the sets of `protocol` with `k` candidates (default: the protocol's; or several) for dev and test.

    What is current is only loaded; what was made from other shards, settings or code is replaced.
    """
    declared = resolve(protocol, workspace)
    sizes = declared.sizes(k)
    folder = workspace.candidates_dir(declared.name)
    stamp = stamp_of(workspace, dataset, declared, sizes)
    manifest = read_manifest(folder)
    if manifest and manifest.get("stamp") == stamp:
        return read_sets(folder, manifest)
    sets = assemble(workspace, dataset, declared, k=sizes)
    sets.manifest["stamp"] = stamp
    write_sets(folder, sets)
    return sets


def load_candidates(workspace: Workspace, dataset: Dataset, protocol: str | Protocol = "v1") -> CandidateSets:
    """The sets as they were frozen. Raises MissingInput if there are none, Mismatch if they are stale or changed."""
    declared = resolve(protocol, workspace)
    folder = workspace.candidates_dir(declared.name)
    manifest = read_manifest(folder)
    again = f"videochat candidates --protocol {protocol if isinstance(protocol, str) else declared.name}"
    if manifest is None:
        raise MissingInput(f"no candidate sets of protocol {declared.name} in {workspace.root}", fix=f"run `{again}`")
    if manifest["data_digest"] != dataset.digest:
        raise Mismatch(
            f"the candidate sets in {folder} were made for shards {manifest['data_digest'][:8]}, "
            f"not for {dataset.digest[:8]}",
            fix=f"run `{again}`",
        )
    if manifest["version"] != declared.version or manifest["format"] != FORMAT_VERSION:
        raise Mismatch(
            f"the candidate sets in {folder} are {declared.name} {manifest['version']} (format {manifest['format']}), "
            f"this package makes {declared.version} (format {FORMAT_VERSION})",
            fix=f"run `{again}`",
        )
    if declared_by(manifest) != declared:
        raise Mismatch(f"the candidate sets in {folder} were made by another declaration of it", fix=f"run `{again}`")
    return read_sets(folder, manifest)


def assemble(
    workspace: Workspace,
    dataset: Dataset,
    protocol: Protocol,
    *,
    k: int | Sequence[int] | None = None,
    splits: Sequence[str] = RANKED_SPLITS,
) -> CandidateSets:
    """The sets in memory, nothing written; `splits=("train",)` gives sets to train candidate-only scorers on."""
    material = Material.read(dataset, splits, protocol, seed=workspace.settings.seed, workspace=workspace)
    built = {
        protocol.set_name(kind, size): (kind, size, made)
        for size in protocol.sizes(k)
        for kind, made in construct(material, size).items()
    }
    texts, numbers = _text_table(workspace, dataset, material.corpus, [made for *_, made in built.values()])
    clusters = dataset.clusters()
    sets = {
        name: _columns(material, name, kind, size, made, numbers, clusters)
        for name, (kind, size, made) in built.items()
    }
    with_truth = Counter(material.corpus.splits[c] for c in material.clips_with_truth(range(len(material.corpus))))
    total = Counter(material.corpus.splits)
    manifest = {
        "protocol": protocol.name,
        "version": protocol.version,
        "format": FORMAT_VERSION,
        "tool": videochat.__version__,
        "data_digest": dataset.digest,
        "split_by": dataset.split_by,
        "seed": workspace.settings.seed,
        "num_clips": {split: total[split] for split in splits},
        "drops": {"no-truth": {split: total[split] - with_truth[split] for split in splits}},
        "generic_keys": sorted(material.generic_keys),
        "texts": {"num": len(texts), "digest": texts_digest(texts), "embedded": texts.embeddings is not None},
        "sets": {name: _facts(protocol, part, built[name][2], splits) for name, part in sets.items()},
    }
    if not protocol.is_built_in:
        manifest |= {"declaration": protocol.to_json(), "declaration_digest": protocol.digest}
    if protocol.similarity != WORDS:
        manifest |= {"similarity": fingerprint_of(protocol.similarity, dataset)}
    return CandidateSets(sets, texts, manifest)


def stamp_of(workspace: Workspace, dataset: Dataset, protocol: Protocol, sizes: Sequence[int]) -> str:
    """Digest of everything the sets are made from."""
    embedded = has_embeddings(workspace, dataset)
    declared = {name: value for name, value in protocol.to_json().items() if name != "max_pooled_k"}
    inputs = [
        dataset.digest,
        declared,  # which K may be asked for changes no set
        sizes[0] if len(sizes) == 1 else list(sizes),
        workspace.settings.seed,
        embedded,
        FORMAT_VERSION,
        KEY_VERSION,
        *([] if protocol.similarity == WORDS else [fingerprint_of(protocol.similarity, dataset)]),
    ]
    return digest_json(inputs)


def construct(material: Material, k: int) -> dict[str, Built]:
    """The sets of K candidates by kind, as clip and text numbers of the material."""
    if material.protocol.construction == "balanced-groups":
        from .groups import make_groups

        return {kind: make_groups(material, kind, k) for kind in material.protocol.sets}
    from .classic import make_classic

    return make_classic(material, k)


def _text_table(
    workspace: Workspace, dataset: Dataset, corpus: Corpus, built: Sequence[Built]
) -> tuple[TextTable, dict[int, int]]:
    """The candidate texts, sorted, and text number of the corpus -> row of the table."""
    used: dict[int, str] = {}  # text number -> a recording whose chat holds it, the first by id
    for made in built:
        for item in made.items:
            for text, source in zip(item.candidates, item.sources, strict=True):
                recording = corpus.recording_ids[source]
                used[text] = min(used.get(text, recording), recording)
    order = sorted(used)  # text numbers ascend with the texts
    texts = [corpus.texts[number] for number in order]
    embeddings = text_embeddings(workspace, dataset, texts, [used[number] for number in order])
    return TextTable(texts, keys(texts), embeddings), {number: row for row, number in enumerate(order)}


def _columns(
    material: Material, name: str, kind: str, k: int, built: Built, numbers: dict[int, int], clusters: dict[str, str]
) -> CandidateSet:
    corpus = material.corpus
    label = material.protocol.label
    items = sorted(built.items, key=lambda item: (corpus.splits[item.clip], item.group_id, corpus.clip_ids[item.clip]))
    clips = [item.clip for item in items]
    truths = [int(material.truths[clip]) for clip in clips]
    others = None
    if material.protocol.max_truths > 1:
        others = np.full((len(items), material.protocol.max_truths - 1), -1, dtype=np.int32)
        for row, clip in enumerate(clips):
            further = sorted(numbers[text] for text in material.other_truths.get(clip, ()))
            others[row, : len(further)] = further
    sources = [[corpus.clip_ids[source] for source in item.sources] for item in items]
    digests = [
        item_digest(
            label,
            name,
            corpus.clip_ids[item.clip],
            item.group_id,
            [corpus.texts[number] for number in item.candidates],
            item.candidates.index(truth)
            if others is None
            else sorted(item.candidates.index(text) for text in material.truths_of(item.clip)),
            source,
        )
        for item, truth, source in zip(items, truths, sources, strict=True)
    ]
    return CandidateSet(
        name=name,
        kind=kind,
        k=k,
        digest=root_digest(label, name, digests),
        clip_ids=_objects([corpus.clip_ids[clip] for clip in clips]),
        recording_ids=_objects([corpus.recording_ids[clip] for clip in clips]),
        categories=_objects([corpus.categories[clip] for clip in clips]),
        clusters=_objects([clusters[corpus.clip_ids[clip]] for clip in clips]),
        splits=_objects([corpus.splits[clip] for clip in clips]),
        group_ids=_objects([item.group_id for item in items]),
        candidates=np.array([[numbers[c] for c in i.candidates] for i in items], dtype=np.int32).reshape(-1, k),
        truths=np.array([numbers[truth] for truth in truths], dtype=np.int32),
        generic=np.array([material.is_generic(clip) for clip in clips], dtype=bool),
        digests=_objects(digests),
        sources=np.array(sources, dtype=object).reshape(-1, k),
        other_truths=others,
    )


def _facts(protocol: Protocol, part: CandidateSet, built: Built, splits: Sequence[str]) -> dict[str, Any]:
    return {
        "set": part.kind,
        "k": part.k,
        "pool": protocol.pool_of(part.k),
        "digest": part.digest,
        "num_clips": {split: int((part.splits == split).sum()) for split in splits},
        "num_groups": {split: len(set(part.group_ids[part.splits == split])) for split in splits},
        "num_generic": {split: int(part.generic[part.splits == split].sum()) for split in splits},
        "left_out": dict(sorted(built.left_out.items())),
    }


def _objects(values: list[str]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """manifest.json, or None if there is none. Raises Damaged: frozen sets are never replaced in silence.

    A field that this package does not know is refused, too: it may mean something.
    """
    fix = f"remove {folder} and run `videochat candidates --protocol {folder.name}`"
    path = folder / "manifest.json"
    if not path.exists():
        return None
    found: dict[str, Any] = read_json(path, needs=MANIFEST_KEYS, fix=fix)
    parts: list[tuple[str, Any, frozenset[str]]] = [("manifest", found, MANIFEST_FIELDS)]
    parts.append(("texts", found["texts"], TEXTS_FIELDS))
    if not isinstance(found["sets"], dict):
        raise damaged(path, "sets is no object", fix)
    parts += [(name, facts, SET_FIELDS) for name, facts in found["sets"].items()]
    for name, fields, expected in parts:
        if not isinstance(fields, dict):
            raise damaged(path, f"{name} is no object", fix)
        if unknown := sorted(set(fields) - expected):
            raise damaged(path, f"{name} has a field {unknown[0]!r} that this version does not know", fix)
    return found
