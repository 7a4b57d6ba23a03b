"""The dataset's papers, written from computed figures: shards/README.md (data card) and shards/croissant.json.

The card has the form that the Hugging Face Hub reads (a YAML header with `configs`, so that `load_dataset` finds the
splits) and the questions of Datasheets for Datasets (Gebru et al., arXiv 1803.09010).
Equal figures give equal bytes: neither paper holds a date.

    write_card(manifest, [dataclasses.asdict(row) for row in funnel(workspace)], workspace.shards_dir)
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .croissant import LICENSE, croissant, fields_of, split_globs, template
from .errors import UsageError
from .files import write_json, write_text

# The manifest's keys that the two papers need (shards/dataset.json holds them).
_KEYS = (
    "name version tool schema_version simulated text_only split_by split_fractions seed geometry num_recordings "
    "num_channels hours num_clips num_comments num_messages per_category per_split drops files digest"
)
REQUIRED = frozenset(_KEYS.split())
# https://github.com/huggingface/hub-docs: the size classes that the Hub knows
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def write_card(dataset_manifest: Mapping[str, Any], funnel: Sequence[Mapping[str, Any]], out_dir: Path) -> None:
    """Write `out_dir`/README.md and `out_dir`/croissant.json.

    dataset_manifest: the figures of the build, with the keys of REQUIRED and `clip_fingerprint` (dict or null);
        `files` are relative to `out_dir`, "<split>/<name>.parquet", with sha256, bytes and rows.
    funnel: rows of `cleaning.funnel.funnel` as dicts (rule, summary, drops, count, left, share), raw messages first.
    Raises UsageError if a figure is missing: a card with holes is not written.
    """
    if missing := sorted(REQUIRED - set(dataset_manifest)):
        raise UsageError(f"the dataset manifest lacks {', '.join(missing)}", fix="build the shards again")
    write_text(out_dir / "README.md", render_card(dataset_manifest, funnel, languages=_languages(out_dir)))
    write_json(out_dir / "croissant.json", croissant(dataset_manifest))


def render_card(
    manifest: Mapping[str, Any], funnel: Sequence[Mapping[str, Any]], *, languages: Sequence[str] = ()
) -> str:
    """The data card as Markdown with its YAML header."""
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters.update(
        yaml=lambda value: json.dumps(value, ensure_ascii=False),  # JSON is YAML
        md=escape_markdown,
        code=lambda value: str(value).replace("`", "'").replace("|", "\\|"),
        count=lambda value: f"{value:,}",
        hours=lambda value: f"{value:,.1f}" if value >= 1 else f"{value:.3f}",
        seconds=_seconds,
        bytes=_bytes,
        percent=lambda share: f"{share:.1%}",
        share=lambda part, whole: f" ({part / whole:.1%})" if whole else "",
    )
    tags = ["live-comments", "chat", "parquet"] + (["simulated"] if manifest["simulated"] else [])
    tasks = ["text-generation", "text-ranking"] + ([] if manifest["text_only"] else ["video-text-to-text"])
    return environment.from_string(template("card.md.j2")).render(
        m=manifest,
        license_details=LICENSE,
        languages=languages,
        tags=tags,
        tasks=tasks,
        size_category=next((name for limit, name in _SIZES if manifest["num_clips"] < limit), "n>10M"),
        splits=split_globs(manifest),
        num_bytes=sum(file["bytes"] for file in manifest["files"]),
        fields=fields_of(manifest),
        fingerprint=_flat(manifest.get("clip_fingerprint") or {}),
        transcribers=[transcriber(by) for by in manifest.get("transcripts", {}).get("by", [])],
        fractions=" / ".join(f"{fraction:g}" for fraction in manifest["split_fractions"]),
        drops=sorted(manifest["drops"].items(), key=lambda item: (-item[1], item[0])),
        funnel=funnel,
    )


def transcriber(by: Mapping[str, Any]) -> str:
    """Who made transcripts, in words: a speech-recognition model with its weights, or imported files."""
    if "model" not in by:
        return f"files that were imported ({by.get('format', 'unknown')})"
    return f"{by['model']}, weights {str(by.get('weights', 'unknown'))[:16]}"


def escape_markdown(value: object) -> str:
    """A name from outside as inert text inside a Markdown table: no HTML, links, code or new cells."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", html.escape(text, quote=False))


def _languages(shards: Path) -> list[str]:
    """The languages of the clips, the most frequent first, read from the shards themselves."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = [pq.read_table(path, columns=["language"])["language"] for path in sorted(shards.glob("*/*.parquet"))]
    chunks = [chunk for column in columns for chunk in column.chunks]
    counts = pc.value_counts(pa.chunked_array(chunks, pa.string()).drop_null()).to_pylist()
    return [row["values"] for row in sorted(counts, key=lambda row: (-row["counts"], row["values"]))]


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested dicts as ("a.b", value) pairs in key order."""
    pairs: list[tuple[str, Any]] = []
    for key in sorted(value):
        inner = value[key]
        pairs += _flat(inner, f"{prefix}{key}.") if isinstance(inner, Mapping) else [(f"{prefix}{key}", inner)]
    return pairs


def _seconds(ms: int) -> str:
    seconds = ms / 1000
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


def _bytes(number: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
