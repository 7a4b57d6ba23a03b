"""The data card and the Croissant file: every figure from the manifest, loud when simulated, inert against names."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videochat.cards import escape_markdown, render_card, write_card
from videochat.croissant import croissant, semantic_version
from videochat.errors import UsageError
from videochat.schema import shard_schema

FUNNEL = [
    {"rule": "messages", "summary": "as imported", "drops": False, "count": 4000, "left": 4000, "share": 1.0},
    {"rule": "bot", "summary": "bots | by list", "drops": True, "count": 300, "left": 3700, "share": 0.075},
    {"rule": "elongation", "summary": "soooo", "drops": False, "count": 40, "left": 3700, "share": 0.01},
]


def shards(folder: Path, *, dim: int | None = 4, simulated: bool = False, name: str = "tiny") -> dict[str, Any]:
    """Three shard files with real rows, and the manifest that fits them."""
    schema = shard_schema(dim)
    files = []
    for split, rows in (("train", 3), ("dev", 1), ("test", 2)):
        path = folder / split / "art-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        comment = {"offset_ms": 1, "author": "u_1", "text": "hi", "emotes": ["Kappa"]}
        row: dict[str, Any] = {field.name: "en" if field.name == "language" else split for field in schema}
        row |= {"start_ms": 0, "context_end_ms": 20_000, "end_ms": 30_000, "context": [comment], "responses": [comment]}
        row |= {"transcript": [], "flags": []}
        if dim:
            row |= {"frame_ms": [0, 1000], "frames": [[0.0] * dim] * 2, "context_clip": [[1.0] * dim]}
        table = [{**row, "clip_id": f"{split}-{index}"} for index in range(rows)]
        pq.write_table(pa.Table.from_pylist(table, schema), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        size = path.stat().st_size
        files.append({"path": f"{split}/{path.name}", "sha256": digest, "bytes": size, "rows": rows})
    per_split = [
        {"split": f["path"].split("/")[0], "channels": 1, "recordings": 1, "hours": 0.025, "clips": f["rows"],
         "context_comments": f["rows"], "responses": f["rows"]}
        for f in files
    ]  # fmt: skip
    return {
        "name": name, "version": 1, "tool": "videochat 0.1.0", "schema_version": 1, "simulated": simulated,
        "text_only": dim is None, "split_by": "channel", "split_fractions": [0.8, 0.1, 0.1], "seed": 0,
        "geometry": {"clip_ms": 30_000, "context_ms": 20_000, "frames_before_ms": 10_000, "frame_step_ms": 1000},
        "clip_fingerprint": {"model": "ViT-B-32", "weights": {"sha256": "ab|`12"}} if dim else None,
        "num_recordings": 3, "num_channels": 3, "hours": 1.25, "num_clips": 6, "num_comments": 3100,
        "num_messages": 4000, "per_split": per_split, "drops": {"no-response": 7, "no-context": 2}, "files": files,
        "per_category": [{"category": "Art", "recordings": 3, "hours": 1.25, "clips": 6, "comments": 3100}],
        "digest": "f" * 64,
    }  # fmt: skip


def test_every_figure_of_the_card_comes_from_the_manifest(tmp_path: Path) -> None:
    write_card(shards(tmp_path), FUNNEL, tmp_path)
    card = (tmp_path / "README.md").read_text()
    for line in (
        "| comments, kept | 3,100 (77.5%) |",
        "| Art | 3 | 1.2 | 6 | 3,100 |",
        "| train | 1 | 1 | 0.025 | 3 | 3 | 3 |",
        "| no-response | 7 |",
        "| bot | bots \\| by list | −300 | 7.5% | 3,700 |",
        "| elongation | soooo | 40 | 1.0% | 3,700 |",
        "| weights.sha256 | `ab\\|'12` |",
        'path: "dev/*.parquet"',
        'language:\n- "en"',
        "- n<1K",
        "Only 3 channels",
    ):
        assert line in card, line
    assert "SIMULATED" not in card and "videochat sample" not in card


def test_the_simulated_are_called_simulated_everywhere(tmp_path: Path) -> None:
    write_card(shards(tmp_path, simulated=True), FUNNEL, tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "**SIMULATED DATA.**" in card and "- simulated" in card
    assert json.loads((tmp_path / "croissant.json").read_text())["description"].startswith("SIMULATED DATA")


def test_text_only_cards_promise_no_frames(tmp_path: Path) -> None:
    manifest = shards(tmp_path, dim=None)
    card = render_card(manifest, FUNNEL)
    assert "text-only" in card and "`frames`" not in card and "video-text-to-text" not in card
    names = [field["name"] for field in croissant(manifest)["recordSet"][0]["field"]]
    assert names == [field.name for field in shard_schema(None)]


def test_fields_are_those_of_the_row_schema(tmp_path: Path) -> None:
    names = [field["name"] for field in croissant(shards(tmp_path))["recordSet"][0]["field"]]
    assert names == [field.name for field in shard_schema(4)]


def test_names_from_outside_stay_inert(tmp_path: Path) -> None:
    manifest = shards(tmp_path, name='x"\n- evil: true <script>')
    manifest["per_category"][0]["category"] = "a|b <img src=x onerror=1> [l](http://x) \n# head"
    card = render_card(manifest, FUNNEL)
    assert "<img" not in card and "<script>" not in card.split("\n---\n", 1)[1]
    row = next(line for line in card.splitlines() if line.startswith("| a"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 6  # five cells, as in any other row
    assert escape_markdown("a`b*c") == "a\\`b\\*c"


def test_equal_figures_give_equal_bytes(tmp_path: Path) -> None:
    manifest = shards(tmp_path)
    write_card(manifest, FUNNEL, tmp_path)
    first = [(tmp_path / name).read_bytes() for name in ("README.md", "croissant.json")]
    write_card(json.loads(json.dumps(manifest)), FUNNEL, tmp_path)
    assert first == [(tmp_path / name).read_bytes() for name in ("README.md", "croissant.json")]


def test_a_card_with_holes_is_refused(tmp_path: Path) -> None:
    manifest = shards(tmp_path)
    del manifest["hours"]
    with pytest.raises(UsageError, match="lacks hours"):
        write_card(manifest, FUNNEL, tmp_path)
    assert not (tmp_path / "README.md").exists()


def test_croissant_names_each_file_with_its_digest(tmp_path: Path) -> None:
    manifest = shards(tmp_path)
    value = croissant(manifest)
    assert value["conformsTo"] == "http://mlcommons.org/croissant/1.0" and value["version"] == "1.0.0"
    objects = [item for item in value["distribution"] if item["@type"] == "cr:FileObject"]
    assert {item["contentUrl"]: item["sha256"] for item in objects} == {
        file["path"]: file["sha256"] for file in manifest["files"]
    }
    assert (semantic_version("2.1"), semantic_version("v")) == ("2.1.0", "0.0.0")


def test_the_header_is_yaml_that_the_hub_reads(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    write_card(shards(tmp_path, name='a "name": with # signs'), FUNNEL, tmp_path)
    header = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert header["pretty_name"] == 'a "name": with # signs' and header["license"] == "other"
    splits = [entry["split"] for entry in header["configs"][0]["data_files"]]
    assert splits == ["train", "dev", "test"]


@pytest.mark.slow
def test_datasets_finds_the_splits_by_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    write_card(shards(tmp_path / "shards"), FUNNEL, tmp_path / "shards")
    loaded = datasets.load_dataset(str(tmp_path / "shards"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 3, "dev": 1, "test": 2}


@pytest.mark.slow
def test_mlcroissant_reads_the_clips(tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    write_card(shards(tmp_path), FUNNEL, tmp_path)
    dataset = mlcroissant.Dataset(jsonld=str(tmp_path / "croissant.json"))
    assert not dataset.metadata.issues.errors
    records = list(dataset.records("clips"))
    assert sorted(record["clips/clip_id"] for record in records) == [
        b"dev-0", b"test-0", b"test-1", b"train-0", b"train-1", b"train-2",
    ]  # fmt: skip
