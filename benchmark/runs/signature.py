"""The one line that names everything a number depends on; it stands under every result and parses back.

videochat|v1.0|cosine10|data:ab12cd34|cand:9f3c00d1|split:channel|score:byte|tool:0.1.0
"""

from __future__ import annotations

from dataclasses import dataclass

from videochat.errors import UsageError

_LABELS = ("data", "cand", "split", "score", "tool")


@dataclass(frozen=True, kw_only=True)
class Signature:
    """protocol: with its version, "v1.0". set: its name; "random100:category" if its groups pool the recordings of a
    category; "random10:first200" if only a part of it was ranked.
    data, cand: the first hex digits of the digests. score: the rule, "own", or "mixed" for a table of several."""

    protocol: str
    set: str
    data: str
    cand: str
    split: str
    score: str
    tool: str

    def __post_init__(self) -> None:
        for name in ("protocol", "set", *_LABELS):
            value = getattr(self, name)
            if not value or "|" in value or value != value.strip():
                raise UsageError(f"{name} is {value!r} in a signature", fix="not empty, no | and no outer spaces")

    def __str__(self) -> str:
        return "|".join(
            ["videochat", self.protocol, self.set, *(f"{label}:{getattr(self, label)}" for label in _LABELS)]
        )

    @classmethod
    def parse(cls, line: str) -> Signature:
        """The signature that prints as `line`. Raises UsageError if it is none."""
        parts = line.strip().split("|")
        labelled = [part.partition(":") for part in parts[3:]]
        if len(parts) != 3 + len(_LABELS) or parts[0] != "videochat" or tuple(p[0] for p in labelled) != _LABELS:
            raise UsageError(f"not a signature: {line!r}", fix="videochat|v1.0|<set>|data:..|cand:..|split:..|...")
        return cls(protocol=parts[1], set=parts[2], **{label: value for label, _, value in labelled})
