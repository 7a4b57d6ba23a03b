"""A model that is known by its scores alone: a file that somebody's own code wrote, ranked beside the others.

ScoreEntrant.read("mine.parquet", name="mine")
ScoreEntrant.read("submission.toml")               # the name and the rest from the submission
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videochat.errors import UsageError
from videochat.progress import say

from ..metrics.ranks import BadScores
from ..scores.blocks import ScoreBlock
from ..scores.tasks import Task
from .score_file import ScoreFile, read_score_file
from .score_matching import match
from .submission import Submission, is_submission


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreEntrant:
    """name: of its row. submission: what its authors say of it, where the file came with one."""

    name: str
    file: ScoreFile
    submission: Submission | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_name(self.name)

    @classmethod
    def read(cls, path: Path | str, *, name: str | None = None) -> ScoreEntrant:
        """A scores file, or a submission that names one. name: default the submission's, else the file's stem."""
        path = Path(path)
        if is_submission(path):
            submission = Submission.read(path)
            return cls(name=name or submission.name, file=submission.scores_file(), submission=submission)
        return cls(name=name or path.stem, file=read_score_file(path))

    def blocks(self, tasks: Sequence[Task], manifest: Mapping[str, Any]) -> list[ScoreBlock]:
        """Its scores on the tasks. Raises BadScores with the first of what is wrong and how much more there is."""
        matched = match(self.file, tasks, manifest, name=self.name)
        if matched.problems:
            more = len(matched.problems) - 1
            rest = f" (and {more} more)" if more else ""
            raise BadScores(
                f"{self.file.path.name}: {matched.problems[0]}{rest}",
                fix=f"`videochat submit-check {self.file.path}` lists all that is wrong",
            )
        if not any(block.split == "test" for block in matched.blocks):
            raise BadScores(f"{self.file.path.name}: it has no test clips", fix="score the test split")
        self.notes[:] = matched.notes
        for note in matched.notes:
            say(f"{self.name}: {note}")
        return matched.blocks

    def row(self) -> dict[str, Any]:
        """Its line in run.json. Whether its own code saw frames is not known, so it bears no text-only mark."""
        seeds = self.submission.seeds if self.submission else ()
        row: dict[str, Any] = {
            "name": self.name,
            "kind": "model",
            "summary": f"scores of {self.file.path.name}",
            "trained": False,
            "skipped": None,
            "saw_frames": True,
            "seed": seeds[0] if len(seeds) == 1 else 0,
            "checkpoint_digest": self.file.digest,
            "scored": "in a file",
            "notes": list(self.notes),
        }
        return row | ({"submission": self.submission.to_json()} if self.submission else {})


def check_name(name: str) -> str:
    """`name` if a model may bear it. Raises UsageError: letters, digits and - _ . alone, so that it fits everywhere."""
    if not name or len(name) > 80 or name[0] == "." or not all(c.isalnum() or c in "-_." for c in name):
        raise UsageError(f"{name[:80]!r} is no name of a model", fix="letters, digits, - _ . (at most 80), --name mine")
    return name
