"""The side file of a simulated workspace: which event each clip's chat speaks of.

focal_events(workspace)["sample-s0-0003_30000"].colour      # "green"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..clock import ClipGeometry
from ..errors import MissingInput
from ..files import read_json
from ..schema import Recording
from ..workspace import Workspace
from .world import GEOMETRY


@dataclass(frozen=True, kw_only=True)
class FocalEvent:
    """The event that a clip's chat speaks of, on screen during [start_ms, end_ms) of the recording.

    in_window: it lies in what a model sees of the clip, [start - 10 s, start + 20 s).
    """

    clip_id: str
    start_ms: int
    end_ms: int
    object: str
    colour: str
    in_window: bool


def read_truth(workspace: Workspace, recording: Recording) -> dict[str, Any]:
    """truth.json of one simulated recording. Raises MissingInput where there is none."""
    path = workspace.raw_dir(recording.recording_id) / "truth.json"
    if not recording.simulated or not path.is_file():
        raise MissingInput(
            f"{recording.recording_id} has no truth.json: only simulated recordings know their truth",
            fix="make a workspace with `videochat sample`",
        )
    fix = f"remove {path.parent} and run `videochat sample` again"
    value: dict[str, Any] = read_json(path, needs=("clips", "spec"), fix=fix)
    return value


def focal_events(workspace: Workspace, geometry: ClipGeometry = GEOMETRY) -> dict[str, FocalEvent]:
    """The focal event of every clip that has one, by clip id, in order of recording and time.

    Clips whose chat speaks of nothing that was ever on screen are absent. Raises MissingInput if a recording of the
    workspace is not simulated.
    """
    found: dict[str, FocalEvent] = {}
    for recording in workspace.recordings():
        for clip in read_truth(workspace, recording)["clips"]:
            if (focal := clip["focal"]) is None:
                continue
            seen_from = clip["start_ms"] - geometry.frames_before_ms
            seen_to = clip["start_ms"] + geometry.context_ms
            found[clip["clip_id"]] = FocalEvent(
                clip_id=clip["clip_id"],
                start_ms=focal["start_ms"],
                end_ms=focal["end_ms"],
                object=focal["object"],
                colour=focal["colour"],
                in_window=seen_from <= focal["start_ms"] and focal["end_ms"] <= seen_to,
            )
    return found
