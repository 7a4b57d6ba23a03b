"""Comments that a model writes for clips: what a person sees of them, and how they are decoded.

written = generate_comments(commenter, clips, Decoding(method="sample", temperature=0.8))
written[0].comment
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from .commenter import Chooser, ClipView, Commenter, view
from .errors import MissingInput, UsageError
from .schema import Clip

if TYPE_CHECKING:
    from .dataset import Dataset

METHODS = ("greedy", "sample", "beam")
BEAMS = 4  # a usual small number; more gains little on texts of a few words


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How comments are decoded. temperature, top_k, top_p and seed are of "sample", beams is of "beam"; None: the
    method's default (temperature 1, no cut, 4 beams). max_new_tokens: the longest comment."""

    method: str = "greedy"
    max_new_tokens: int = 20  # as the released code decodes (FACTS §1)
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    beams: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"method is {self.method!r}", fix=f"choose one of {', '.join(METHODS)}")
        for name, owner in (("temperature", "sample"), ("top_k", "sample"), ("top_p", "sample"), ("beams", "beam")):
            if getattr(self, name) is not None and self.method != owner:
                raise UsageError(f"{name} says nothing to {self.method}", fix=f"leave it out, or take method {owner}")
        for name, fits, wanted in (
            ("max_new_tokens", self.max_new_tokens >= 1, "1 or more"),
            ("temperature", self.temperature is None or 0 < self.temperature < float("inf"), "more than 0"),
            ("top_k", self.top_k is None or self.top_k >= 1, "1 or more"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "above 0, at most 1"),
            ("beams", self.beams is None or self.beams >= 2, "2 or more"),
        ):
            if not fits:
                raise UsageError(f"{name} is {getattr(self, name)}", fix=f"make it {wanted}")

    def options(self) -> dict[str, Any]:
        """Keywords for `Commenter.generate`: `seed` makes it sample, the others go by transformers' names."""
        found: dict[str, Any] = {"max_new_tokens": self.max_new_tokens}
        if self.method == "sample":
            cuts = {"temperature": self.temperature, "top_p": self.top_p}
            found |= {"seed": self.seed, "top_k": self.top_k or 0}
            found |= {name: value for name, value in cuts.items() if value is not None}
        if self.method == "beam":
            found["num_beams"] = self.beams or BEAMS
        return found


@dataclass(frozen=True, kw_only=True)
class Written:
    """A comment for a clip, of what was seen before `now_ms` on the recording's clock."""

    clip_id: str
    recording_id: str
    now_ms: int
    comment: str


def chosen_clips(
    dataset: Dataset, split: str | None, *, clip_ids: Sequence[str] = (), limit: int | None = None
) -> list[Clip]:
    """The clips of a split, or those named, in the order of the shards. Raises UsageError for an unknown id."""
    if not clip_ids:
        return list(islice(dataset.clips(split), limit))
    wanted = set(clip_ids)
    found = [clip for clip in dataset.clips(split) if clip.clip_id in wanted]
    if lost := sorted(wanted - {clip.clip_id for clip in found}):
        where = f"the {split} split" if split else "this dataset"
        raise UsageError(f"{where} has no clip {lost[0]!r}", fix="the column clip_id of the shards names them")
    return found[:limit]


def generate_comments(
    commenter: Commenter | Chooser, clips: Iterable[Clip | ClipView], decoding: Decoding
) -> list[Written]:
    """One comment a clip; a Clip is shown as it is when models are ranked.

    Raises UsageError if the model writes none or cannot decode so, MissingInput if a clip lacks what it needs.
    """
    write = getattr(commenter, "generate", None)
    if not callable(write):
        raise UsageError(f"{commenter.name} ranks comments and writes none", fix="take a model such as sfat")
    options = decoding.options()
    if cannot := sorted(set(options) - _accepted(write, options)):
        raise UsageError(f"{commenter.name} cannot decode with {', '.join(cannot)}", fix="take method greedy")
    views = [clip if isinstance(clip, ClipView) else view(clip) for clip in clips]
    if "frames" in commenter.needs and any(clip.frames is None for clip in views):
        raise MissingInput(f"{commenter.name} needs frames", fix="run `videochat build-features` and `videochat build`")
    texts = write(views, **options)
    assert len(texts) == len(views), f"{commenter.name} wrote {len(texts)} comments for {len(views)} clips"
    return [
        Written(clip_id=clip.clip_id, recording_id=clip.recording_id, now_ms=clip.now_ms, comment=text)
        for clip, text in zip(views, texts, strict=True)
    ]


def _accepted(write: Any, options: dict[str, Any]) -> set[str]:
    """Those of the options that a function takes."""
    parameters = inspect.signature(write).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return set(options)
    return set(parameters)
