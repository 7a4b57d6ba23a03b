"""How fast `sfat-released` learns, against the step of the released code that trains CLIP's text tower.

    python -m videochat.benchmark.speed.training                  # one core, batch 32; about a minute
    python -m videochat.benchmark.speed.training --device cuda

`released` is that step in torch's and transformers' own modules, as FACTS §1 describes it: padded, CLIP's text tower
of 12 layers run and trained, one-hot targets, Adam, float32. `stored` is our step with the text features looked up:
comments packed without padding, the memory of a step kept for the next; in float32 and with bf16 products. `released,
memory kept` is the released step with that one setting of ours. Random weights of the released sizes, 5 comments
and one answer of 4 to 10 tokens a clip, 30 frames. Seconds are those of the processor, which other work on the machine
hardly moves (on a GPU: of the clock); the median of `--rounds` steps after one to warm up. `roof` is the time that the
step's floating-point operations take at the rate of a large matrix product. Each row runs in a process of its own,
whose peak memory is given (on a GPU: of the tensors there). Beside it: what it costs to read a step's clips from shards
and to make its batch, against the fastest step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

B, C, N, L = 32, 5, 30, 10  # clips, comments, frames, tokens: the released batch (FACTS §1)
VOCABULARY, CLIP_VOCABULARY = 30_522, 49_408
MATRIX = 2048  # side of the matrix product that gives the roof
ROWS = ("released", "released, memory kept", "stored float32", "stored bf16")
TARGETS = {"stored bf16": 8.0}  # times as fast as the released step
LOADING_TARGET = 5.0  # times as fast as one step takes the data


def make_batch(device: str) -> dict[str, Any]:
    import torch

    draw = torch.Generator().manual_seed(1)

    def rows(count: int) -> tuple[Any, Any]:
        lengths = torch.randint(4, L + 1, (count,), generator=draw)
        ids = torch.randint(5, VOCABULARY, (count, L), generator=draw)
        return torch.where(torch.arange(L) < lengths[:, None], ids, 0), lengths

    comment_ids, comment_lengths = rows(B * C)
    response_ids, response_lengths = rows(B)
    batch = {
        "comment_ids": comment_ids,
        "comment_lengths": comment_lengths,
        "comment_index": torch.arange(B * C).view(B, C),
        "comment_mask": torch.ones(B, C, dtype=torch.bool),
        "comment_clip": torch.randn(B, C, 512, generator=draw),
        "frames": torch.randn(B, N, 512, generator=draw),
        "frame_mask": torch.ones(B, N, dtype=torch.bool),
        "response_ids": response_ids,
        "response_lengths": response_lengths,
        "response_clip": torch.arange(B),
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


def released_step(batch: dict[str, Any], device: str) -> Callable[[], Any]:
    """The released step in public modules. Its decoder is ours, padded, which is the smaller part of it."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModelWithProjection

    from videochat.models.sfat.config import RELEASED, SfatConfig
    from videochat.models.sfat.frame_tower import interleaved_sinusoids
    from videochat.models.sfat.model import SfatModel

    torch.manual_seed(0)
    own = SfatModel(SfatConfig(vocab_size=VOCABULARY, **RELEASED))
    bert = BertModel(
        BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024),
        add_pooling_layer=False,
    )
    layer = nn.TransformerEncoderLayer(512, 8, 256, 0.1, batch_first=True)
    video = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    ends: dict[str, Any] = {"bos_token_id": CLIP_VOCABULARY - 2, "eos_token_id": 2}
    tower = CLIPTextModelWithProjection(CLIPTextConfig(projection_dim=512, **ends))
    parts = nn.ModuleList([own, bert, video, tower]).to(device).train()
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-4)
    place = torch.arange(L, device=device)
    mask = place < batch["comment_lengths"][:, None]
    real = place < batch["response_lengths"][:, None]
    allowed = (place[: L - 1, None] >= place[: L - 1])[None, None] & real[:, None, None, : L - 1]
    target = batch["response_ids"]

    def step() -> None:
        comments = bert(batch["comment_ids"], mask.long()).last_hidden_state[:, 0].view(B, C, -1)
        hidden = own.tower.dropout(own.tower.frame_projection(batch["frames"]))
        hidden = video(hidden + interleaved_sinusoids(N, 512, hidden.device))
        text = tower(input_ids=batch["comment_ids"], attention_mask=mask.long()).text_embeds.view(B, C, -1)
        seen, said = (F.normalize(own.tower.shared_projection(x), dim=-1) for x in (hidden, text))
        weights = (seen @ said.transpose(1, 2) / 0.1).softmax(1)
        token = (weights.transpose(1, 2) @ seen).sum(1, keepdim=True)
        every = torch.ones(B, C, dtype=torch.bool, device=device)
        memories = [own.decoder.project(0, comments, every), own.decoder.project(1, token, every[:, :1])]
        states = own.decoder.step(own.embedding, target[:, :-1], memories, allowed=allowed)
        logits = own.embedding.logits(states).permute(0, 2, 1)
        loss: Any = F.cross_entropy(logits, F.one_hot(target[:, 1:], VOCABULARY).float().permute(0, 2, 1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def stored_step(batch: dict[str, Any], device: str, *, bf16: bool) -> Callable[[], Any]:
    import torch

    from videochat.models.sfat.config import RELEASED, SfatConfig
    from videochat.models.sfat.model import SfatModel

    torch.manual_seed(0)
    model: Any = SfatModel(SfatConfig(vocab_size=VOCABULARY, **RELEASED))
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss, count = model(**batch)
        (loss / count).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds_of(step: Callable[[], Any], device: str, rounds: int) -> float:
    import torch

    now = time.process_time if device == "cpu" else time.perf_counter

    def once() -> float:
        before = now()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        return now() - before

    once()
    return statistics.median(once() for _ in range(rounds))


def row_of(name: str, device: str, rounds: int) -> dict[str, Any]:
    """One row, in a process of its own: seconds of a step, its operations and their roof, and the peak memory."""
    import resource

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from videochat.models.heap import keep_freed_memory

    torch.set_num_threads(1)
    if name != "released":
        keep_freed_memory()
    batch = make_batch(device)
    bf16 = name == "stored bf16"
    step = released_step(batch, device) if name.startswith("released") else stored_step(batch, device, bf16=bf16)
    square = torch.randn(MATRIX, MATRIX, device=device).to(torch.bfloat16 if bf16 else torch.float32)
    product = seconds_of(lambda: square @ square, device, 5)
    with FlopCounterMode(display=False) as counter:
        step()
    operations = counter.get_total_flops()
    seconds = seconds_of(step, device, rounds)
    roof = operations / (2 * MATRIX**3 / product)
    peak = (
        torch.cuda.max_memory_allocated()
        if device != "cpu"
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    return {
        "seconds": seconds,
        "gflop": operations / 1e9,
        "roof_seconds": roof,
        "of_roof": roof / seconds,
        "peak_mib": peak / 2**20,
    }


def measure(device: str, rounds: int) -> dict[str, Any]:
    """{"released": {...}, "stored float32": ..., "stored bf16": ...}: what `row_of` gives, and `speedup`."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    rows: dict[str, Any] = {}
    for name in ROWS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows[name] = pool.submit(row_of, name, device, rounds).result()
    for row in rows.values():
        row["speedup"] = rows["released"]["seconds"] / row["seconds"]
    return rows


def measure_loading(num_clips: int = 16 * B) -> dict[str, float]:
    """Seconds of the processor for the data of one step: B clips read from shards, and a batch made of them.

    Shards of 512-d features, 61 comments a clip (FACTS §2), are written and read once; the first pass over the clips is
    timed, in which every comment has yet to be cut into tokens. Training reads the shards once and makes batches again
    in each epoch.
    """
    import tempfile

    import numpy as np

    from videochat.dataset import Dataset
    from videochat.models.batches import Collator
    from videochat.models.examples import ResponseBatches, examples_of
    from videochat.models.tokenizer import encoder_of, train_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        write_clips(Path(folder), num_clips)
        dataset = Dataset.open(folder)
        before = time.process_time()
        examples = examples_of(dataset.clips("train"), max_context_comments=C)
        read = time.process_time() - before
        comments = [comment for clip in dataset.clips("train") for comment in clip.context]
    collator = Collator(
        encode=encoder_of(train_tokenizer(comments[:2000], vocab_size=8192)),
        needs=frozenset({"frames", "text_embeddings"}),
        clip_dim=512,
        max_context_comments=C,
        max_comment_tokens=L,
        max_response_tokens=L,
    )
    batches = ResponseBatches(examples=examples, collator=collator, responses_per_clip=1, null_probability=0.0)
    random = np.random.default_rng(0)
    order = random.permutation(len(examples))
    times = []
    for start in range(0, len(order) - B + 1, B):
        before = time.process_time()
        batches(order[start : start + B], random)
        times.append(time.process_time() - before)
    return {"read_seconds": read * B / len(examples), "batch_seconds": statistics.median(times)}


def write_clips(folder: Path, num_clips: int) -> None:
    """Shards of made-up clips: 40 frames, 41 context comments and 20 responses each."""
    import numpy as np

    from videochat.build import table_of, write_dataset
    from videochat.schema import Clip, Comment, clip_id
    from videochat.workspace import Workspace

    random = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(3000)])

    def said(offset_ms: int) -> Comment:
        text = " ".join(random.choice(words, size=int(random.integers(2, 9))))
        return Comment(offset_ms=offset_ms, author="u", text=text)

    def unit(rows: int) -> Any:
        vectors = random.standard_normal((rows, 512))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)

    rows = []
    for number in range(num_clips):
        start = 30_000 * (number % 60) + 30_000
        recording = f"made-{number // 60:03}"
        clip = Clip(
            clip_id=clip_id(recording, start),
            recording_id=recording,
            channel_id="c",
            category="Art",
            language="en",
            split="train",
            start_ms=start,
            context_end_ms=start + 20_000,
            end_ms=start + 30_000,
            context=tuple(said(start + 450 * n) for n in range(41)),
            responses=tuple(said(start + 20_000 + 450 * n) for n in range(20)),
            frame_ms=np.arange(start - 10_000, start + 30_000, 1_000, dtype=np.int32),
            frames=unit(40),
            context_clip=unit(41),
        )
        rows.append((clip.split, clip.category, clip.recording_id, table_of([clip], 512)))
    facts = {"simulated": True, "split_by": "channel", "clip_fingerprint": {"model": "made"}}
    write_dataset(Workspace.open(folder, create=True), rows, dim=512, facts=facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments.device, arguments.rounds)
    loading = measure_loading()
    fastest = min(row["seconds"] for row in rows.values())
    if arguments.json:
        print(
            json.dumps(
                {"steps": rows, "loading": loading, "step_over_loading": fastest / sum(loading.values())}, indent=2
            )
        )
        return
    print(
        f"{'step at batch 32':22} {'seconds':>8} {'times faster':>13} {'GFLOP':>7} {'of the roof':>12} {'peak MiB':>9}"
    )
    for name, row in rows.items():
        target = f" (>= {TARGETS[name]:g})" if name in TARGETS else ""
        print(
            f"{name:22} {row['seconds']:8.3f} {row['speedup']:13.1f} {row['gflop']:7.1f} {row['of_roof']:12.2f} "
            f"{row['peak_mib']:9.0f}{target}"
        )
    ratio = fastest / sum(loading.values())
    print(
        f"data of a step: {1000 * loading['read_seconds']:.1f} ms to read (once a training), "
        f"{1000 * loading['batch_seconds']:.1f} ms to make the batch: {ratio:.0f} times as fast as the fastest step "
        f"takes them (>= {LOADING_TARGET:g})"
    )


if __name__ == "__main__":
    main()
