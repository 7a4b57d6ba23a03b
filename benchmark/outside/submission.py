"""A submission: a scores file made by anyone's own code, and a small TOML or JSON file that says what it is.

name = "my-model"                          # submission.toml
authors = ["A. Author"]
url = "https://example.org/my-model"
scores = "my-model.parquet"                # beside this file
training_data = "the train split of these shards, nothing else"
seeds = [0]
protocol = "v1"
data_digest = "49749f87..."                # as manifest.json of export-candidates gives them, 8 digits or more
[candidates]
random10 = "1f0c9a2b..."
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videochat.errors import MissingInput, UsageError

from ..metrics.ranks import BadScores
from .score_file import ScoreFile, read_score_file

MAX_BYTES = 200_000
MAX_WORDS = 4_000  # characters of a statement
NEEDED = (
    *("name", "authors", "scores", "training_data", "seeds"),
    *("protocol", "data_digest", "candidates"),
)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What its authors say. training_data: a statement, what the model has seen. problems: what is wrong with the
    fields, a sentence each; then the other fields hold what could be read."""

    path: Path
    name: str = ""
    authors: tuple[str, ...] = ()
    url: str = ""
    scores: str = ""
    training_data: str = ""
    seeds: tuple[int, ...] = ()
    protocol: str = ""
    version: str = ""
    data_digest: str = ""
    candidates: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Submission:
        """Read a submission file. Raises MissingInput, or BadScores if it is no TOML or JSON object."""
        if not path.is_file():
            raise MissingInput(f"there is no submission {path}", fix="a submission.toml or .json")
        if path.stat().st_size > MAX_BYTES:
            raise BadScores(f"{path.name} has {path.stat().st_size:,} bytes", fix=f"at most {MAX_BYTES:,}")
        try:
            text = path.read_text(encoding="utf-8")
            value = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        except (ValueError, RecursionError) as error:
            kind = path.suffix[1:].upper()
            raise BadScores(f"{path.name} is no {kind}: {str(error)[:200]}", fix="see docs/commands.md") from None
        if not isinstance(value, dict):
            raise BadScores(f"{path.name} is no object of fields", fix="see docs/commands.md")
        return cls.of(path, value)

    @classmethod
    def of(cls, path: Path, value: Mapping[str, Any]) -> Submission:
        known = {f.name for f in dataclasses.fields(cls)} - {"path", "problems"}
        problems = [f"no field {name}" for name in NEEDED if name not in value]
        problems += [f"unknown field {name!s:.40}" for name in sorted(set(value) - known)]
        fields: dict[str, Any] = {}
        for name, given in value.items():
            if name not in known:
                continue
            found = _field(name, given)
            if isinstance(found, BadScores):
                problems.append(found.what)
            else:
                fields[name] = found
        return cls(path=path, problems=tuple(problems), **fields)

    def scores_file(self) -> ScoreFile:
        """The scores file beside this one, which inherits the digests that are declared here.

        Raises BadScores if it lies elsewhere: a submission is one folder.
        """
        if not self.scores or Path(self.scores).name != self.scores:
            raise BadScores(f"{self.path.name}: scores is {self.scores!r}", fix="the name of a file beside it")
        file = read_score_file(self.path.with_name(self.scores))
        own = {"protocol": self.protocol, "version": self.version, "data_digest": self.data_digest}
        declared = {name: text for name, text in own.items() if text}
        return dataclasses.replace(file, declared={**file.declared, **declared, "candidates": dict(self.candidates)})

    def to_json(self) -> dict[str, Any]:
        """For run.json."""
        return {
            "authors": list(self.authors),
            "url": self.url,
            "training_data": self.training_data,
            "seeds": list(self.seeds),
        }


def is_submission(path: Path) -> bool:
    return path.suffix.lower() in (".toml", ".json")


def _field(name: str, given: Any) -> Any:
    """The value of a field, or a BadScores that says what it must be."""
    if name == "authors":
        fits = isinstance(given, list) and bool(given) and all(isinstance(v, str) and v.strip() for v in given)
        return tuple(given) if fits else BadScores("authors is no list of names")
    if name == "seeds":
        fits = isinstance(given, list) and bool(given) and all(type(v) is int for v in given)
        return tuple(given) if fits else BadScores("seeds is no list of whole numbers, such as [0]")
    if name == "candidates":
        fits = isinstance(given, dict) and bool(given) and all(isinstance(v, str) for v in given.values())
        return dict(given) if fits else BadScores("candidates is no table of set = digest")
    if not isinstance(given, str) or len(given) > MAX_WORDS:
        return BadScores(f"{name} is no text of at most {MAX_WORDS:,} characters")
    if name in NEEDED and not given.strip():
        return BadScores(f"{name} is empty")
    if name == "url" and given and not given.startswith(("https://", "http://")):
        return BadScores("url does not begin with https://")
    return given


def check_fields(submission: Submission) -> list[str]:
    """What is wrong with the submission file itself; UsageErrors of the name included."""
    from .score_entrant import check_name

    problems = list(submission.problems)
    if submission.name:
        try:
            check_name(submission.name)
        except UsageError as error:
            problems.append(error.what)
    return problems
