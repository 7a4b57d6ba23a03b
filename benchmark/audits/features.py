"""Audits of the features: it is known which encoder made them, it was trained, and one made frames and texts alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from videochat.commenter import MODELS
from videochat.files import parquet_metadata

from ..texts.embeddings import same_encoder
from .data import AuditInput, declare
from .gate import Check


def _featured(given: AuditInput) -> bool:
    return bool(given.dataset.provides & {"frames", "text_embeddings"})


def _fingerprint(given: AuditInput) -> dict[str, Any]:
    return dict(given.dataset.manifest.get("clip_fingerprint") or {})


@declare("fingerprint", "features", "the features say which encoder made them, in every file alike")
def fingerprint(given: AuditInput) -> list[Check]:
    name = "features: fingerprint"
    if not _featured(given):
        return [Check(check=name, ok=True, detail="not looked at: the dataset holds no features")]
    found = _fingerprint(given)
    model = str(found.get("model") or "")
    if not model or model == "unnamed":
        return [Check(check=name, ok=False, detail="it is not known which encoder made the features", figure=0.0)]
    strangers = [
        path.name
        for path in given.dataset.paths()
        if (own := parquet_metadata(path).get("clip_fingerprint")) is not None and own != found
    ]
    names = sorted(set(given.dataset.table(columns=["recording_id"])["recording_id"].to_pylist()))
    strangers += [
        given.workspace.texts_path(recording).name
        for recording in names
        if not same_encoder(parquet_metadata(given.workspace.texts_path(recording)).get("fingerprint"), found)
    ]
    if strangers:
        detail = f"{len(strangers)} files are of another encoder than {model}, {strangers[0]} first"
        return [Check(check=name, ok=False, detail=detail, figure=float(len(strangers)))]
    weights = str(found.get("weights") or "")
    told = f"weights {weights[:12]}" if weights else "imported" if found.get("imported") else "weights not told"
    return [Check(check=name, ok=True, detail=f"{model}, {told}", figure=0.0)]


@declare("untrained", "features", "the encoder of the features was trained")
def untrained(given: AuditInput) -> list[Check]:
    name = "features: untrained weights"
    if not _featured(given):
        return [Check(check=name, ok=True, detail="not looked at: the dataset holds no features")]
    found = _fingerprint(given)
    named = [str(found.get(key) or "") for key in ("model", "beside")]
    bad = found.get("trained") is False or any(value.split(":")[0] == "untrained" for value in named)
    which = next((value for value in named if value.startswith("untrained")), named[0])
    detail = (
        f"{which} has random weights, as was asked for" if bad else f"{named[0] or 'unknown'} is not marked as such"
    )
    return [Check(check=name, ok=not bad, detail=detail)]


def untrained_models(rows: Sequence[Mapping[str, Any]]) -> list[Check]:
    """One check for each model of the registry that is to be trained: it was ranked with the weights of a checkpoint.

    rows: the models of run.json. Models of other people say of themselves whether they are trained.
    """
    checks = []
    for row in rows:
        if row["trained"] and row["skipped"] is None and row["name"] in MODELS:
            digest = row["checkpoint_digest"]
            detail = f"checkpoint {digest[:12]}" if digest else "its weights come from no checkpoint"
            checks.append(Check(check=f"weights of {row['name']}", ok=bool(digest), detail=detail))
    return checks
