"""A simulated world in which knowledge can help: every clip is a round with a name, and facts tell how a round ended.

    cp -r screen rounds && python -m videochat.models.sfat.make_rounds --data rounds
    videochat candidates --data rounds
    videochat train --data rounds --model sfat-knowledge --set facts=rounds/facts-told.jsonl
    videochat train --data rounds --model sfat-knowledge --set facts=rounds/facts-noise.jsonl

The workspace must be a built one of `videochat sample`; its shards are replaced. The latest comment of a context then
says "this is round <name>", with a name that no other clip has. facts-told.jsonl says of each round the colour of the
event that its comments answer; facts-noise.jsonl is the same with colours drawn anew, so that it looks alike and tells
nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from videochat.build import table_of, write_dataset
from videochat.dataset import Dataset
from videochat.errors import Mismatch
from videochat.files import atomic_path, stable_hash
from videochat.schema import Clip
from videochat.workspace import Workspace

SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou")
TOLD, NOISE = "facts-told.jsonl", "facts-noise.jsonl"
SPLITS = ("train", "dev", "test")


def round_name(clip_id: str) -> str:
    """A word of five syllables that follows from the clip: 70^5 of them."""
    number, word = stable_hash("round", clip_id), ""
    for _ in range(5):
        number, place = divmod(number, len(SYLLABLES))
        word += SYLLABLES[place]
    return word


def with_round(clip: Clip) -> Clip:
    """The clip, whose latest comment names its round; an embedding of zeros speaks of no frame."""
    last = clip.context[-1]
    said = dataclasses.replace(last, text=f"this is round {round_name(clip.clip_id)}", emotes=())
    vectors = clip.context_clip
    if vectors is not None:
        vectors = np.concatenate([vectors, np.zeros_like(vectors[:1])])
    return dataclasses.replace(clip, context=(*clip.context, said), context_clip=vectors)


def round_facts(colours: Mapping[str, str], *, told: bool) -> str:
    """JSONL of a fact a round. colours: clip id -> its colour; not told: each draws one of all anew."""
    known = sorted(set(colours.values()))
    lines = []
    for clip_id, colour in sorted(colours.items()):
        shown = colour if told else known[stable_hash("noise", clip_id) % len(known)]
        lines.append(json.dumps({"text": f"round {round_name(clip_id)} was {shown}"}) + "\n")
    return "".join(lines)


def write_rounds(workspace: Workspace, clips: Sequence[Clip], colours: Mapping[str, str]) -> None:
    """Replace the shards and write both files of facts into the workspace."""
    dataset = Dataset.open(workspace.root)
    facts = {name: dataset.manifest[name] for name in ("simulated", "split_by", "clip_fingerprint")}
    named = [with_round(clip) for clip in clips]
    rows = [(clip.split, clip.category, clip.recording_id, table_of([clip], dataset.dim)) for clip in named]
    write_dataset(workspace, rows, dim=dataset.dim, facts=facts)
    for name, told in ((TOLD, True), (NOISE, False)):
        with atomic_path(workspace.root / name) as temporary:
            temporary.write_text(round_facts(colours, told=told), encoding="utf-8")


def make_rounds(root: Path) -> None:
    from videochat.sample.truth import focal_events

    workspace, dataset = Workspace.open(root), Dataset.open(root)
    if not dataset.simulated:
        raise Mismatch(f"{root} is no world of `videochat sample`", fix="take a copy of one that is built")
    clips = [clip for split in SPLITS for clip in dataset.clips(split)]
    if any("this is round" in clip.context[-1].text for clip in clips):
        raise Mismatch(f"the rounds of {root} have names already", fix="take a fresh copy of the sample world")
    events = focal_events(workspace)
    write_rounds(workspace, clips, {c.clip_id: events[c.clip_id].colour for c in clips if c.clip_id in events})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a built workspace of `videochat sample`, a copy")
    make_rounds(parser.parse_args().data)


if __name__ == "__main__":
    main()
