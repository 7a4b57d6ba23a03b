"""shards/croissant.json: the dataset described for machines, in Croissant 1.0 (http://mlcommons.org/croissant/1.0).

Each file with its SHA-256, all files as one file set, and one record set `clips` with the columns of the row schema.
mlcroissant reads the clips through it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

LICENSE = (
    "The rights in video and chat stay with their makers and the platform's terms apply; "
    "whoever shares this dataset must state its licence."
)
# The two structs of the row schema, with Croissant's types
STRUCTS = {
    "comments": {"offset_ms": "sc:Integer", "author": "sc:Text", "text": "sc:Text", "emotes": "sc:Text"},
    "segments": {"start_ms": "sc:Integer", "end_ms": "sc:Integer", "text": "sc:Text"},
}


def croissant(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The Croissant 1.0 description: each file with its SHA-256, all files as one set, one record set `clips`."""
    encoding = "application/x-parquet"
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": file["path"],
            "name": file["path"].replace("/", "-"),
            "contentUrl": file["path"],
            "contentSize": f"{file['bytes']} B",
            "encodingFormat": encoding,
            "sha256": file["sha256"],
        }
        for file in sorted(manifest["files"], key=lambda file: file["path"])
    ]
    shards = {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "description": "All shards; the column split tells the splits apart.",
        "encodingFormat": encoding,
        "includes": [split["glob"] for split in split_globs(manifest)],
    }
    return {
        "@context": template_json("croissant-context.json"),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": slug_name(manifest["name"]),
        "description": _describe(manifest),
        "license": LICENSE,
        "version": semantic_version(manifest["version"]),
        "keywords": ["live comments", "chat"] + (["simulated"] if manifest["simulated"] else []),
        "distribution": [*objects, shards],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "clips",
                "name": "clips",
                "description": "One record is one clip.",
                "key": {"@id": "clips/clip_id"},
                "field": [_croissant_field(field) for field in fields_of(manifest)],
            }
        ],
    }


def _croissant_field(field: Mapping[str, Any]) -> dict[str, Any]:
    source = {"fileSet": {"@id": "shards"}, "extract": {"column": field["name"]}}
    value = {
        "@type": "cr:Field",
        "@id": f"clips/{field['name']}",
        "name": field["name"],
        "description": field["text"],
    }
    if field["type"] not in STRUCTS:
        return {**value, "dataType": field["type"], "repeated": bool(field.get("repeated")), "source": source}
    inner = [
        {
            "@type": "cr:Field",
            "@id": f"clips/{field['name']}/{name}",
            "name": name,
            "dataType": kind,
            "source": {**source, "transform": {"jsonPath": name}},
        }
        for name, kind in STRUCTS[field["type"]].items()
    ]
    return {**value, "repeated": True, "subField": inner}


def split_globs(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """[{"split", "glob"}] of the splits that have a file, in the manifest's order of splits."""
    filled = {file["path"].split("/")[0] for file in manifest["files"]}
    return [
        {"split": row["split"], "glob": f"{row['split']}/*.parquet"}
        for row in manifest["per_split"]
        if row["split"] in filled
    ]


def slug_name(name: str) -> str:
    """The name as Croissant allows it: letters, digits, "-" and "_"."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "dataset"


def semantic_version(version: object) -> str:
    """ "2" or 2 -> "2.0.0"; "1.4" -> "1.4.0" (Croissant asks for MAJOR.MINOR.PATCH)."""
    parts = re.findall(r"\d+", str(version))[:3] or ["0"]
    return ".".join(parts + ["0"] * (3 - len(parts)))


def _describe(manifest: Mapping[str, Any]) -> str:
    kind = "text-only clips of live chat" if manifest["text_only"] else "clips of live video with its chat"
    lead = "SIMULATED DATA, made by a program. " if manifest["simulated"] else ""
    return (
        f"{lead}{manifest['num_clips']:,} {kind} from {manifest['num_recordings']:,} recordings of "
        f"{manifest['num_channels']:,} channels, {manifest['num_comments']:,} kept comments. Written by "
        f"{manifest['tool']}; data digest {manifest['digest'][:16]}."
    )


def fields_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = template_json("fields.json")
    return [field for field in fields if not (manifest["text_only"] and field.get("features"))]


def template(name: str) -> str:
    return files("videochat.data_cards").joinpath("templates", name).read_text(encoding="utf-8")


def template_json(name: str) -> Any:
    return json.loads(template(name))
