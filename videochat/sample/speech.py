"""What a streamer says in a simulated workspace: the colour that the chat will name, or words that mean nothing.

    python -m videochat.sample.speech --data sample-world --say colour --out speech/
    videochat transcribe --data sample-world --from speech/

Writes one file of JSON lines for each recording, as ready transcripts. It is for asking whether a model can use speech,
and whether it can leave it: see models/sfat/README.md. The speech is simulated, like all the rest of such a workspace;
the videos stay without sound.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from ..files import write_text
from ..schema import Recording
from ..workspace import Workspace
from .truth import read_truth

KINDS = {"colour": "told", "noise": "noise"}  # what --say may be, and the name that its draws are seeded with
FILLERS = ((1_000, 5_000), (6_000, 10_000), (11_000, 15_000))  # [start, end) in ms from the clip's start
TELLING = (15_500, 18_500)
NOISE = (
    *("weather", "monday", "invoice", "kitchen", "market", "table", "server", "garden", "music", "coffee", "ticket"),
    *("window", "pencil", "river", "number", "engine", "paper", "winter", "summer", "bottle cap", "keyboard"),
    *("password", "update", "sponsor", "headset", "schedule", "dinner", "train", "holiday", "doctor", "school"),
    "bridge",
)
TELLS = ("i would say it is {c}", "that one is {c} for sure", "it looks {c} to me", "okay {c} it is", "clearly {c}")


def speech(workspace: Workspace, recording: Recording, say: str) -> list[tuple[int, int, str]]:
    """(start_ms, end_ms, text) of one simulated recording, four segments a clip. say: one of KINDS.

    The last of them tells the colour that the chat of the clip is about (noise where it is about none).
    """
    draw = random.Random(f"{KINDS[say]} {recording.recording_id}")

    def words(count: int) -> str:
        return " ".join(draw.choice(NOISE) for _ in range(count))

    rows = []
    for clip in read_truth(workspace, recording)["clips"]:
        start, topic = clip["start_ms"], clip.get("spoken_of")
        rows += [(start + begin, start + end, words(draw.randint(3, 7))) for begin, end in FILLERS]
        telling = draw.choice(TELLS).format(c=topic["colour"]) if say == "colour" and topic else words(4)
        rows.append((start + TELLING[0], start + TELLING[1], telling))
    return sorted(rows)


def write_speech(workspace: Workspace, say: str, out: Path) -> int:
    """Files for `videochat transcribe --from`; how many. Raises MissingInput for a recording that is not simulated."""
    recordings = workspace.recordings()
    for recording in recordings:
        lines = [{"start_ms": a, "end_ms": b, "text": text} for a, b, text in speech(workspace, recording, say)]
        write_text(out / f"{recording.recording_id}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return len(recordings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a workspace of `videochat sample`")
    parser.add_argument("--say", choices=sorted(KINDS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder for the files")
    given = parser.parse_args()
    print(f"{write_speech(Workspace.open(given.data), given.say, given.out)} files in {given.out}")


if __name__ == "__main__":
    main()
