"""Fixtures of the model tests: clips of the dummies, a tokenizer trained on them, and untrained commenters."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from videochat.commenter import ClipView, TextTable, view
from videochat.schema import Clip

DIM = 16


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from threads, and equal thread counts give equal bytes."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clips(dummies: ModuleType) -> list[Clip]:
    made: list[Clip] = dummies.make_clips(num_channels=3, recordings_per_channel=1, clips_per_recording=12, dim=DIM)
    return made


@pytest.fixture(scope="session")
def views(clips: list[Clip]) -> list[ClipView]:
    return [view(clip) for clip in clips]


@pytest.fixture(scope="session")
def texts(clips: list[Clip]) -> TextTable:
    """Answers of different lengths, with embeddings of their own."""
    import numpy as np

    unique = list(dict.fromkeys(comment.text for clip in clips for comment in clip.responses))
    unique += ["x", "a far longer comment than any of the others 😀 with émotion and עברית in it"]
    vectors = np.random.default_rng(1).standard_normal((len(unique), DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TextTable(unique, unique, vectors.astype(np.float16))


@pytest.fixture(scope="session")
def tokenizer(clips: list[Clip]) -> Any:
    from videochat.models.tokenizer import train_tokenizer

    return train_tokenizer((c for clip in clips for c in (*clip.context, *clip.responses)), vocab_size=500)


@pytest.fixture(scope="session")
def make_sfat(tokenizer: Any, clips: list[Clip]) -> Callable[..., Any]:
    """An untrained SFAT as a commenter; keywords are fields of SfatConfig."""

    def make(pooling: str = "semantic", *, seed: int = 0, **fields: Any) -> Any:
        import torch

        from videochat.models.batches import Collator
        from videochat.models.commenter import LikelihoodCommenter
        from videochat.models.sfat.config import SfatConfig
        from videochat.models.sfat.model import SfatModel
        from videochat.models.tokenizer import encoder_of

        torch.manual_seed(seed)
        shape = {"width": 32, "num_heads": 4, "vocab_size": len(tokenizer), "clip_dim": DIM}
        config = SfatConfig(**{**shape, "pooling": pooling, **fields})
        focal = {clip.clip_id: (clip.start_ms + 8_000, clip.start_ms + 12_000) for clip in clips}
        collator = Collator(
            encode=encoder_of(tokenizer),
            needs=config.needs,
            clip_dim=DIM,
            max_context_comments=config.max_context_comments,
            max_comment_tokens=config.max_comment_tokens,
            max_response_tokens=config.max_response_tokens,
            focal=focal if pooling == "oracle" else None,
        )
        return LikelihoodCommenter(f"sfat-{pooling}", SfatModel(config), tokenizer, collator)

    return make


RECIPES = {
    "tte": {"video_width": 32, "num_video_heads": 4, "video_feed_forward_width": 48, "num_context_layers": 2},
    "livebot": {"num_encoder_layers": 2},
    "videoic": {"max_comments_per_second": 2},
}  # folder under models/ -> fields that keep it small


@pytest.fixture(scope="session")
def make_model(tokenizer: Any, make_sfat: Callable[..., Any]) -> Callable[..., Any]:
    """An untrained model of a folder under models/ as a commenter; keywords are fields of its config."""

    def make(folder: str = "sfat", *, seed: int = 0, **fields: Any) -> Any:
        from importlib import import_module

        import torch

        from videochat.models.commenter import LikelihoodCommenter

        if folder == "sfat":
            return make_sfat(seed=seed, **fields)
        recipe = import_module(f"videochat.models.{folder}.train").RECIPE
        torch.manual_seed(seed)
        shape = {"width": 32, "num_heads": 4, "feed_forward_width": 64, "num_decoder_layers": 2}
        small = {**shape, **RECIPES[folder], "vocab_size": len(tokenizer), "clip_dim": DIM}
        config = recipe.config(**{**small, **fields})
        return LikelihoodCommenter(folder, recipe.model(config), tokenizer, recipe.collator(config, tokenizer, None))

    return make
