"""How fast chats are cleaned: messages a second from raw/ to the finished comments/, language identification included.

    python -m videochat.benchmark.speed.cleaning [--comments 1000000] [--recordings 8] [--workers 2]

The chat is made here with the shape of real Twitch chat: two thirds of the texts are unique (FACTS), 29 % hold emotes,
4 % @names. `wall_per_s` is the whole command with its start. `per_core_per_s` comes from the
CPU seconds of one process after its start, so it holds on a busy machine too. `limit_per_core_per_s` is gzip and orjson
alone, which no cleaning can pass.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from videochat.cleaning.catalog import RULES
from videochat.cleaning.chat import read_chat
from videochat.cleaning.config import CleaningConfig
from videochat.cleaning.identify import identifier
from videochat.cleaning.lists import load_lists
from videochat.cleaning.pseudonyms import author_pseudonyms
from videochat.cleaning.run import clean, to_table
from videochat.errors import VideochatError
from videochat.files import write_parquet
from videochat.schema import RawMessage, Recording
from videochat.workspace import Workspace

TARGET = 100_000  # messages a second on 2 cores
SHORT = (
    "lol",
    "LUL",
    "gg",
    "hi",
    "hello",
    "W",
    "nice",
    "lmao",
    "pog",
    "what",
    "no way",
    "KEKW",
    "true",
    "F",
    "hi chat",
)
VOCABULARY = (
    "the that this what when would have just like really going game play never always about because after "
    "before again people think know want need good great crazy insane funny music song boss level run time today night "
    "tomorrow last first next one two three she he they you your my our is was are not don't can't how why who did "
    "does make made take look see watch find lost win luck jump fall die dead alive back home work sleep"
)
WORDS = VOCABULARY.split()
EMOTES = [(f"channel{name}", str(number)) for number, name in enumerate(("Hype", "Love", "Lul", "Wave", "Rage"))]


def message(random_: random.Random, number: int) -> RawMessage:
    """One raw message; ids and authors as Twitch has them."""
    if random_.random() < 0.12:
        text = SHORT[min(int(random_.paretovariate(1)) - 1, len(SHORT) - 1)]
    else:
        text = " ".join(random_.choices(WORDS, k=1 + min(int(random_.expovariate(0.18)), 40)))
    kind = random_.random()
    if kind < 0.04:
        text = f"@viewer_{random_.randrange(9999)} {text}"
    elif kind < 0.05:
        text = random_.choice(("!drops", "see https://example.com/x", text + "!!!!!!", text.upper() + "OOOOO"))
    fragments: list[tuple[str, str | None]] = [(text, None)]
    if random_.random() < 0.29:
        fragments = [] if random_.random() < 0.3 else [(text + " ", None)]
        fragments += [random_.choice(EMOTES), (" ", None), random_.choice(EMOTES)]
    author = f"viewer_{min(int(random_.paretovariate(0.6)), 30_000)}"
    return {
        "id": f"{random_.getrandbits(128):032x}",
        "offset_ms": number // 3 * 1000,
        "author": author,
        "author_id": author[7:],
        "badges": ["subscriber"] if random_.random() < 0.3 else [],
        "fragments": fragments,
    }


def make_workspace(folder: Path, num_comments: int, num_recordings: int) -> Workspace:
    """A workspace with `num_recordings` raw recordings that hold `num_comments` messages in all."""
    workspace = Workspace.open(folder, create=True)
    each = num_comments // num_recordings
    for seed in range(num_recordings):
        random_ = random.Random(seed)
        recording = Recording(
            recording_id=f"speed-{seed}",
            platform="twitch",
            platform_id=str(seed),
            channel=f"channel{seed}",
            category="Speed",
            duration_ms=each // 3 * 1000,
            num_messages=each,
            chat_digest=str(seed),
        )
        path = workspace.raw_dir(recording.recording_id)
        path.mkdir(parents=True)
        with gzip.open(path / recording.chat, "wb", compresslevel=1) as handle:
            for number in range(each):
                handle.write(orjson.dumps(message(random_, number)) + b"\n")
        workspace.add_recording(recording)
    return workspace


def stages(workspace: Workspace) -> tuple[dict[str, float], int]:
    """CPU seconds of each stage over all recordings in this process, and the sum of their unique texts."""
    config, lists, key = CleaningConfig(), load_lists(), workspace.pseudonym_key()
    seconds: dict[str, float] = {}
    unique = 0

    def timed(stage: str, begin: float) -> None:
        seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - begin

    for recording in workspace.recordings():
        path = workspace.raw_dir(recording.recording_id) / recording.chat
        begin = time.process_time()
        chat = read_chat(path, recording, config, lists)
        timed("read", begin)
        unique += len(chat.texts)
        for rule in RULES.values():
            begin = time.process_time()
            rule.run(chat)
            timed(rule.name, begin)
        begin = time.process_time()
        table = to_table(chat, author_pseudonyms(key, recording.platform, chat.logins))
        timed("pseudonyms and table", begin)
        begin = time.process_time()
        write_parquet(table, workspace.root / "speed.parquet", {"stamp": ""})
        timed("write", begin)
    return seconds, unique


def limit_seconds(workspace: Workspace) -> float:
    """CPU seconds to unpack and parse all chats and do nothing else."""
    begin = time.process_time()
    for recording in workspace.recordings():
        with gzip.open(workspace.raw_dir(recording.recording_id) / recording.chat, "rb") as handle:
            while lines := list(itertools.islice(handle, 1000)):
                orjson.loads(b"[" + b",".join(lines) + b"]")
    return time.process_time() - begin


def measure(num_comments: int, num_recordings: int, num_workers: int, folder: Path) -> dict[str, Any]:
    """Clean `num_recordings` recordings as the command does, then stage by stage in this process."""
    workspace = make_workspace(folder, num_comments, num_recordings)
    begin = time.perf_counter()
    summary = clean(workspace, num_workers=num_workers)
    wall = time.perf_counter() - begin
    num_comments = int(summary.total("num_messages"))
    if summary.count("ok") != num_recordings:
        raise VideochatError(f"{summary.count('ok')} of {num_recordings} recordings were cleaned")

    begin = time.process_time()
    identifier()
    unique = stages(workspace)[1]  # the first pass pays for imports and fresh memory
    start = time.process_time() - begin
    seconds, _ = stages(workspace)
    total = sum(seconds.values())
    return {
        "comments": num_comments,
        "recordings": num_recordings,
        "workers": num_workers,
        "unique_texts": unique / num_comments,
        "kept": summary.total("num_kept") / num_comments,
        "wall_s": round(wall, 2),
        "wall_per_s": round(num_comments / wall),
        "per_core_per_s": round(num_comments / total),
        "limit_per_core_per_s": round(num_comments / limit_seconds(workspace)),
        "first_pass_cpu_s": round(start, 2),
        "language_share": round(seconds["language"] / total, 3),
        "microseconds": {stage: round(value / num_comments * 1e6, 2) for stage, value in seconds.items()},
        "target_per_s": TARGET,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comments", type=int, default=1_000_000)
    parser.add_argument("--recordings", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments.comments, arguments.recordings, arguments.workers, Path(folder) / "workspace")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
