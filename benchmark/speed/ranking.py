"""How fast 100 candidates of a clip are ranked, against scoring each candidate on its own.

    python -m videochat.benchmark.speed.ranking            # 138 M parameters, FACTS §7; about a minute on two cores
    python -m videochat.benchmark.speed.ranking --small    # a few seconds

Three ways, float32, the same random weights, the same clip (15 comments, 30 frames) and candidates of chat length:
`alone` runs the model once for each candidate; `repeated` puts the clip beside every candidate in one padded batch;
`shared` is what ranking uses. Rounds alternate between the ways, and the best of each counts, as other work on the
machine only ever slows one down. The roof is the time that the matrix products of `shared` take alone.
The log-likelihoods must agree to 1e-4.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videochat.commenter import ClipView
from videochat.schema import Comment

TOLERANCE = 1e-4
WORDS_PER_COMMENT = 5  # mean of a Poisson, plus 1: the median real chat line of the fixtures has five words
CLIP_DIM = 512


def make_clip(random: np.random.Generator, num_comments: int = 15, num_frames: int = 30) -> ClipView:
    """A clip of random words and features."""
    features = random.standard_normal((num_frames + num_comments, CLIP_DIM)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return ClipView(
        clip_id="speed_0",
        recording_id="speed",
        channel_id="",
        category="",
        language="en",
        start_ms=10_000,
        now_ms=30_000,
        context=tuple(
            Comment(offset_ms=10_000 + 1000 * n, author="", text=make_text(random)) for n in range(num_comments)
        ),
        frame_ms=np.arange(num_frames, dtype=np.int32) * 1000,
        frames=features[:num_frames].astype(np.float16),
        context_clip=features[num_frames:].astype(np.float16),
    )


def make_text(random: np.random.Generator) -> str:
    return " ".join(str(word) for word in random.integers(4, 4000, size=1 + random.poisson(WORDS_PER_COMMENT)))


def measure(*, size: str, vocab_size: int, num_candidates: int, rounds: int) -> dict[str, Any]:
    """Seconds of each way, their ratios to `shared`, the largest difference of a log-likelihood, the roof."""
    import torch

    from videochat.models.batches import Collator, pad
    from videochat.models.scoring import OUTPUT_TOKENS, candidate_log_likelihoods
    from videochat.models.sfat.config import SIZES, SfatConfig
    from videochat.models.sfat.model import SfatModel

    random = np.random.default_rng(0)
    torch.manual_seed(0)
    config = SfatConfig(vocab_size=vocab_size, clip_dim=CLIP_DIM, **SIZES[size])
    model: Any = SfatModel(config)
    model.eval()
    collator = Collator(
        encode=lambda text, emotes, most: (1, *(int(word) for word in text.split()[:most]), 2),
        needs=config.needs,
        clip_dim=CLIP_DIM,
        max_context_comments=config.max_context_comments,
        max_comment_tokens=config.max_comment_tokens,
        max_response_tokens=config.max_response_tokens,
    )
    clip = make_clip(random)
    rows = [collator.response_ids(make_text(random)) for _ in range(num_candidates)]

    def shared() -> NDArray[np.float64]:
        return candidate_log_likelihoods(model, collator, [clip], [rows])[0]

    def plain(clips: list[ClipView], some: list[tuple[int, ...]]) -> NDArray[np.float64]:
        ids, lengths = pad(some)
        with torch.inference_mode():
            logits = model(**collator.clips(clips), decoder_input_ids=ids[:, :-1]).logits
            picked = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
        real = torch.arange(1, ids.shape[1]) < lengths[:, None]
        values: NDArray[np.float64] = (picked.double() * real).sum(-1).numpy()
        return values

    def alone() -> NDArray[np.float64]:
        return np.concatenate([plain([clip], [row]) for row in rows])

    def repeated() -> NDArray[np.float64]:
        return plain([clip] * len(rows), rows)

    def roof() -> NDArray[np.float64]:
        products(model, clip_tokens=sum(len(c.text.split()) + 2 for c in clip.context), rows=rows, chunk=OUTPUT_TOKENS)
        return np.zeros(0)

    ways: dict[str, Callable[[], NDArray[np.float64]]] = {
        "alone": alone,
        "repeated": repeated,
        "shared": shared,
        "roof": roof,
    }
    seconds = {name: float("inf") for name in ways}
    values: dict[str, NDArray[np.float64]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            values[name] = way()
            seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "candidates": num_candidates,
        "candidate_tokens": sum(len(row) - 1 for row in rows),
        "threads": torch.get_num_threads(),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "speedup": round(seconds["alone"] / seconds["shared"], 2),
        "speedup_over_repeated": round(seconds["repeated"] / seconds["shared"], 2),
        "share_of_roof": round(seconds["roof"] / seconds["shared"], 2),
        "max_difference": max(float(np.abs(values["shared"] - values[name]).max()) for name in ("alone", "repeated")),
    }


def products(model: Any, *, clip_tokens: int, rows: list[tuple[int, ...]], chunk: int) -> None:
    """The matrix products that `shared` cannot do without: every linear layer on its tokens, the output layer."""
    import torch
    import torch.nn.functional as F

    config = model.config
    num_tokens = sum(len(row) - 1 for row in rows)
    memory = config.max_context_comments + 1

    def run(module: torch.nn.Module, tokens: int) -> None:
        for linear in (m for m in module.modules() if isinstance(m, torch.nn.Linear)):
            linear(torch.ones(tokens, linear.in_features))

    with torch.inference_mode():
        run(model.context_encoder, clip_tokens)
        run(model.fusion, memory)
        for name, linear in model.decoder.named_modules():
            if isinstance(linear, torch.nn.Linear):
                linear(torch.ones(memory if name.endswith("kv") else num_tokens, linear.in_features))
        for start in range(0, num_tokens, chunk):
            F.linear(torch.ones(min(chunk, num_tokens - start), config.width), model.embedding.weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="the small size with 20 candidates")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.small:
        found = measure(size="small", vocab_size=4000, num_candidates=20, rounds=options.rounds)
    else:
        found = measure(size="base", vocab_size=50_000, num_candidates=100, rounds=options.rounds)
    print(json.dumps(found, indent=2))
    if found["max_difference"] > TOLERANCE:
        raise SystemExit(f"log-likelihoods differ by {found['max_difference']:.1e}, more than {TOLERANCE:g}")


if __name__ == "__main__":
    main()
