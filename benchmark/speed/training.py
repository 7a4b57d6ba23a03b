"""How fast `sfat-released` learns, against the step of the released code that trains CLIP's text tower.

    python -m videochat.benchmark.speed.training                  # one core, batch 32; about a minute
    python -m videochat.benchmark.speed.training --device cuda

`released` is that step in torch's and transformers' own modules, as FACTS §1 describes it: padded, CLIP's text tower
of 12 layers run and trained, one-hot targets, Adam, float32. `stored` is our step with the text features looked up:
comments packed without padding; in float32 and with bf16 products. Random weights of the released sizes, 5 comments
and one answer of 4 to 10 tokens a clip, 30 frames. Seconds are those of the processor, which other work on the machine
hardly moves (on a GPU: of the clock); the median of `--rounds` steps after one to warm up. `roof` is the time that the
step's floating-point operations take at the rate of a large matrix product.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

B, C, N, L = 32, 5, 30, 10  # clips, comments, frames, tokens: the released batch (FACTS §1)
VOCABULARY, CLIP_VOCABULARY = 30_522, 49_408
MATRIX = 2048  # side of the matrix product that gives the roof


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

    from videochat.models.sfat_released.config import SfatReleasedConfig
    from videochat.models.sfat_released.model import SfatReleasedModel, interleaved_sinusoids

    torch.manual_seed(0)
    own = SfatReleasedModel(SfatReleasedConfig())
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
        hidden = own.frame_dropout(own.frame_projection(batch["frames"]))
        hidden = video(hidden + interleaved_sinusoids(N, 512, hidden.device))
        text = tower(input_ids=batch["comment_ids"], attention_mask=mask.long()).text_embeds.view(B, C, -1)
        seen, said = (F.normalize(own.shared_projection(x), dim=-1) for x in (hidden, text))
        weights = (seen @ said.transpose(1, 2) / 0.1).softmax(1)
        token = (weights.transpose(1, 2) @ seen).sum(1, keepdim=True)
        every = torch.ones(B, C, dtype=torch.bool, device=device)
        memories = [own.decoder.project(0, comments, every), own.decoder.project(1, token, every[:, :1])]
        states = own.decoder.padded(own.embedding, target[:, :-1], allowed, memories)
        logits = own.embedding.logits(states).permute(0, 2, 1)
        loss: Any = F.cross_entropy(logits, F.one_hot(target[:, 1:], VOCABULARY).float().permute(0, 2, 1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def stored_step(batch: dict[str, Any], device: str, *, bf16: bool) -> Callable[[], Any]:
    import torch

    from videochat.models.sfat_released.config import SfatReleasedConfig
    from videochat.models.sfat_released.model import SfatReleasedModel

    torch.manual_seed(0)
    model: Any = SfatReleasedModel(SfatReleasedConfig())
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


def measure(device: str, rounds: int) -> dict[str, Any]:
    """{"released": {...}, "stored float32": ..., "stored bf16": ...}, each with seconds, operations and its roof."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    batch = make_batch(device)
    rows: dict[str, Any] = {}
    for name, step, dtype in (
        ("released", released_step(batch, device), torch.float32),
        ("stored float32", stored_step(batch, device, bf16=False), torch.float32),
        ("stored bf16", stored_step(batch, device, bf16=True), torch.bfloat16),
    ):
        square = torch.randn(MATRIX, MATRIX, device=device).to(dtype)
        product = seconds_of(lambda square=square: square @ square, device, 5)  # type: ignore[misc]
        with FlopCounterMode(display=False) as counter:
            step()
        operations = counter.get_total_flops()
        seconds = seconds_of(step, device, rounds)
        roof = operations / (2 * MATRIX**3 / product)
        rows[name] = {"seconds": seconds, "gflop": operations / 1e9, "roof_seconds": roof, "of_roof": roof / seconds}
    for row in rows.values():
        row["speedup"] = rows["released"]["seconds"] / row["seconds"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rows = measure(arguments.device, arguments.rounds)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for name, row in rows.items():
        print(
            f"{name:15} {row['seconds']:8.3f} s  {row['gflop']:6.1f} GFLOP  {row['of_roof']:.2f} of the roof"
            f"  {row['speedup']:5.1f} times the released step"
        )


if __name__ == "__main__":
    main()
