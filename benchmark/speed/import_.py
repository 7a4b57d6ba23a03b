"""How fast chats are imported: messages a second from GraphQL JSON to the finished raw/ folder.

    python -m videochat.benchmark.speed.import_ [--comments 200000] [--files 2]

The input is made here, in the form of real nodes (about 610 bytes each, a third with an emote); one file for each
core, since a recording is one process's work. `ratio` compares, in CPU time of the same run, with orjson parsing the
unpacked bytes in one call and does nothing else; it holds on a busy machine, where wall times do not.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from videochat.engines.local import available_cores
from videochat.errors import VideochatError
from videochat.sources.local import ImportItem, import_recordings
from videochat.workspace import Workspace

TARGET = 80_000  # messages a second on 2 cores
WORDS = ("lol", "that was so close", "what game is this", "hello chat", "from Germany", "nice one", "again", "no way")


def node(random_: random.Random, number: int) -> dict[str, Any]:
    """One GraphQL node with the members, order and lengths of real ones."""
    emote = {"id": f"{number};0;4", "emoteID": str(number), "from": 0, "__typename": "EmbeddedEmote"}
    text = " ".join(random_.choices(WORDS, k=random_.randint(1, 12)))
    fragments: list[dict[str, Any]] = [{"emote": None, "text": text, "__typename": "VideoCommentMessageFragment"}]
    if random_.random() < 1 / 3:
        fragments.append({"emote": emote, "text": "Kappa", "__typename": "VideoCommentMessageFragment"})
    user = f"user_{random_.randrange(5000)}"
    badges = [{"id": "c3Vic2NyaWJlcjs2Ow==", "setID": "subscriber", "version": "6", "__typename": "Badge"}]
    return {
        "id": f"{random_.getrandbits(128):032x}",
        "commenter": {"__typename": "User", "id": user[5:], "login": user, "displayName": user.title()},
        "contentOffsetSeconds": number // 3,
        "createdAt": "2026-05-03T17:52:56.132Z",
        "message": {
            "fragments": fragments,
            "userBadges": badges if random_.random() < 0.6 else [],
            "userColor": "#4684A3",
            "__typename": "VideoCommentMessage",
        },
        "__typename": "VideoComment",
    }


def write_chat(path: Path, num_comments: int, seed: int) -> int:
    """A gzip JSON array of nodes; its unpacked size in bytes."""
    random_ = random.Random(seed)
    size = 2
    with gzip.open(path, "wb", compresslevel=6) as handle:
        handle.write(b"[")
        for number in range(num_comments):
            text = (b"," if number else b"") + orjson.dumps(node(random_, number))
            size += len(text)
            handle.write(text)
        handle.write(b"]")
    return size


def measure(num_comments: int, num_files: int, folder: Path) -> dict[str, Any]:
    """Import `num_files` files with `num_comments` comments in all, by one process and by all cores."""
    each = num_comments // num_files
    paths = [folder / f"chat-{number}.json.gz" for number in range(num_files)]
    num_bytes = sum(write_chat(path, each, seed) for seed, path in enumerate(paths))
    items = [ImportItem(chat=path, category="Speed") for path in paths]
    result: dict[str, Any] = {"comments": each * num_files, "files": num_files, "unpacked_bytes": num_bytes}

    data = gzip.decompress(paths[0].read_bytes())
    begin = time.process_time()
    count = len(orjson.loads(data))
    result["orjson_per_cpu_s"] = round(count / (time.process_time() - begin))
    del data

    for name, workers in (("one_process", 1), ("all_cores", min(available_cores(), num_files))):
        workspace = Workspace.open(folder / name, create=True)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        summary = import_recordings(workspace, items, num_workers=workers)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
        if summary.total("messages") != each * num_files:
            raise VideochatError(f"{summary.total('messages'):.0f} of {each * num_files} messages were imported")
        result[f"{name}_workers"] = workers
        result[f"{name}_per_s"] = round(each * num_files / seconds)
        if workers == 1:
            result["one_process_per_cpu_s"] = round(each * num_files / cpu_seconds)
    result["ratio"] = round(result["one_process_per_cpu_s"] / result["orjson_per_cpu_s"], 3)
    result["target_per_s"] = TARGET
    result["of_target"] = round(result["all_cores_per_s"] / TARGET, 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comments", type=int, default=200_000)
    parser.add_argument("--files", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options.comments, options.files, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
