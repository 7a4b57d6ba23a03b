"""A protocol of one's own: a TOML or JSON file with the fields of `Protocol`, for `--protocol my.toml`.

    name = "mine"                          # names the folder of its candidate sets; no built-in's name
    version = "1.0"
    summary = "five truths a clip, negatives of the category that a sentence encoder finds similar"
    construction = "chosen-negatives"
    sets = ["cosine", "random"]
    k = 20
    pool = "category"                      # recording, category or split
    similarity = "./all-MiniLM-L6-v2"      # tfidf, clip, or a sentence encoder
    max_truths = 5
    truths_from = "responses"

Unknown fields are refused. The declaration goes into the manifest of its sets and its digest into their label, so that
results of two declarations under one name are never taken for one another.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videochat.errors import MissingInput, UsageError
from videochat.files import read_json

from .protocols import PROTOCOLS, Protocol

if TYPE_CHECKING:
    from videochat.workspace import Workspace

SUFFIXES = (".toml", ".json")


def resolve(protocol: str | Protocol, workspace: Workspace | None = None) -> Protocol:
    """The protocol of that name, in that file, or with candidate sets of that name in the workspace."""
    if isinstance(protocol, Protocol):
        return protocol
    if protocol in PROTOCOLS:
        return PROTOCOLS[protocol]
    if protocol.endswith(SUFFIXES):
        return read_protocol(Path(protocol))
    if workspace is not None and re.fullmatch(r"[\w.-]+", protocol):
        path = workspace.candidates_dir(protocol) / "manifest.json"
        if path.is_file() and "declaration" in (manifest := read_json(path, needs=("protocol",))):
            return declared_by(manifest)
    return PROTOCOLS[protocol]  # says which names there are


def declared_by(manifest: Mapping[str, Any]) -> Protocol:
    """The protocol of a manifest of candidate sets: its own declaration, or the built-in that it names."""
    own = manifest.get("declaration")
    return PROTOCOLS[manifest["protocol"]] if own is None else Protocol.from_json(own)


def read_protocol(path: Path) -> Protocol:
    """The protocol that a file declares. Raises MissingInput if there is none, UsageError for what it gets wrong."""
    if not path.is_file():
        raise MissingInput(f"no protocol at {path}", fix="a TOML or JSON file with the fields of a protocol")
    try:
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:  # both parsers' errors, and text that is no UTF-8
        raise UsageError(f"{path} cannot be read: {error}", fix="write it as TOML (.toml) or JSON (.json)") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} holds no fields", fix='name = "mine", version = "1.0", ...')
    try:
        found = Protocol.from_json(value)
    except UsageError as error:
        raise UsageError(f"{path}: {error.what}", fix=error.fix) from None
    if found.name in PROTOCOLS or found.name.startswith("released"):
        raise UsageError(f"{path}: {found.name!r} is the name of a built-in protocol", fix="give yours another name")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", found.name):
        raise UsageError(f"{path}: name {found.name!r} is no folder name", fix="small letters, digits, - and _")
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]{0,19}", found.version):
        raise UsageError(f"{path}: version {found.version!r} cannot stand in a signature", fix='version = "1.0"')
    return found
