"""Fixtures of the model tests: clips of the dummies, a tokenizer trained on them, and untrained commenters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from videochat.commenter import ClipView, TextTable, view
from videochat.schema import Clip, Segment

DIM = 16


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from threads, and equal thread counts give equal bytes."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clips(dummies: ModuleType) -> list[Clip]:
    made: list[Clip] = dummies.make_clips(num_channels=3, recordings_per_channel=1, clips_per_recording=12, dim=DIM)
    return [dataclasses.replace(clip, transcript=speech(number, clip)) for number, clip in enumerate(made)]


def speech(number: int, clip: Clip) -> tuple[Segment, ...]:
    """What is said in two clips of three: of some length, and one sentence that ends after the context."""
    if number % 3 == 0:
        return ()
    words = " ".join(f"word{n}" for n in range(number % 4 + 1))
    start = clip.start_ms
    return (
        Segment(start_ms=start - 3_000, end_ms=start + 2_000, text=f"so {words}"),
        Segment(start_ms=start + 9_000, end_ms=start + 20_000, text=f"look at this {words}"),
        Segment(start_ms=start + 19_000, end_ms=start + 23_000, text="what comes next"),
    )


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
    """An untrained SFAT as a commenter; keywords are fields of SfatConfig. released: of the released network, small."""

    def make(pooling: str = "semantic", *, seed: int = 0, released: bool = False, **fields: Any) -> Any:
        import torch

        from videochat.models.batches import Collator
        from videochat.models.commenter import LikelihoodCommenter
        from videochat.models.knowledge import KnowledgeStore, chat_facts
        from videochat.models.retrieval import KnowledgeTensors
        from videochat.models.sfat.config import RELEASED, SfatConfig
        from videochat.models.sfat.model import SfatModel
        from videochat.models.sfat.train import joined
        from videochat.models.tokenizer import encoder_of
        from videochat.models.transcripts import transcript_tensors

        torch.manual_seed(seed)
        shape = {"width": 32, "num_heads": 4, "vocab_size": len(tokenizer), "clip_dim": DIM}
        if released:
            lengths = {name: value for name, value in RELEASED.items() if name.startswith("max_")}
            shape = {**RELEASED, **shape, **SMALL_RELEASED, **lengths}
        config = SfatConfig(**{**shape, "pooling": pooling, **fields})
        streams: list[Any] = []
        if config.transcript != "off":
            streams.append(partial(transcript_tensors, most=12))
        if config.knowledge != "off":  # reads all clips, each without its own recording
            streams.append(KnowledgeTensors(KnowledgeStore(chat_facts(clips)), num_facts=3, max_tokens=12))
        focal = {clip.clip_id: (clip.start_ms + 8_000, clip.start_ms + 12_000) for clip in clips}
        collator = Collator(
            encode=encoder_of(tokenizer),
            needs=config.needs,
            clip_dim=DIM,
            max_context_comments=config.max_context_comments,
            max_comment_tokens=config.max_comment_tokens,
            max_response_tokens=config.max_response_tokens,
            focal=focal if pooling == "oracle" else None,
            extra=partial(joined, streams) if streams else None,
        )
        return LikelihoodCommenter(f"sfat-{pooling}", SfatModel(config), tokenizer, collator)

    return make


SMALL_RELEASED = {
    "feed_forward_width": 64, "num_context_heads": 4, "context_feed_forward_width": 48, "num_context_layers": 2,
    "num_video_layers": 2, "num_video_heads": 4, "video_feed_forward_width": 48, "num_decoder_layers": 2,
}  # fmt: skip
RECIPES = {
    "tte": {"video_width": 32, "num_video_heads": 4, "video_feed_forward_width": 48, "num_context_layers": 2},
    "livebot": {"num_encoder_layers": 2},
    "videoic": {"max_comments_per_second": 2},
    "klvcg": {"num_facts": 3},
}  # folder under models/ -> fields that keep it small


@pytest.fixture(scope="session")
def make_language_model(tokenizer: Any) -> Callable[..., Any]:
    """A small untrained causal language model with the tests' tokenizer; architecture "llama" or "gpt2"."""

    def make(architecture: str = "llama", *, seed: int = 0) -> Any:
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

        torch.manual_seed(seed)
        common = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        if architecture == "gpt2":
            return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=512, **common)).eval()
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        return LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=2, **common)).eval()

    return make


@pytest.fixture(scope="session")
def make_video_chatgpt(tokenizer: Any, make_language_model: Callable[..., Any]) -> Callable[..., Any]:
    """An untrained adapter before a small language model, as a commenter; keywords are fields of its config.

    LoRA's changes, which start at nothing, get some random size."""

    def make(architecture: str = "llama", *, seed: int = 0, **fields: Any) -> Any:
        import torch

        from videochat.models.commenter import LikelihoodCommenter
        from videochat.models.video_chatgpt import lora
        from videochat.models.video_chatgpt.config import VideoChatgptConfig
        from videochat.models.video_chatgpt.model import VideoChatgptModel
        from videochat.models.video_chatgpt.train import collator_of

        language_model = make_language_model(architecture, seed=seed)
        config = VideoChatgptConfig(clip_dim=DIM, language_width=32, **fields)
        config.lora_shapes = lora.shapes(language_model.config, config)
        model = VideoChatgptModel(config).attach(language_model)
        for low_rank in model.lora.values():
            torch.nn.init.normal_(low_rank.up.weight, std=0.2)
        return LikelihoodCommenter("video-chatgpt-style", model, tokenizer, collator_of(config, tokenizer))

    return make


@pytest.fixture(scope="session")
def make_model(
    tokenizer: Any, clips: list[Clip], make_sfat: Callable[..., Any], make_video_chatgpt: Callable[..., Any]
) -> Callable[..., Any]:
    """An untrained model of a folder under models/ as a commenter; keywords are fields of its config."""

    def make(folder: str = "sfat", *, seed: int = 0, **fields: Any) -> Any:
        from importlib import import_module

        import torch

        from videochat.models.commenter import LikelihoodCommenter

        if folder == "sfat":
            return make_sfat(seed=seed, **fields)
        if folder == "video_chatgpt":
            return make_video_chatgpt(seed=seed, **fields)
        recipe = import_module(f"videochat.models.{folder}.train").RECIPE
        torch.manual_seed(seed)
        shape = {"width": 32, "num_heads": 4, "feed_forward_width": 64, "num_decoder_layers": 2}
        small = {**shape, **RECIPES[folder], "vocab_size": len(tokenizer), "clip_dim": DIM}
        config = recipe.config(**{**small, **fields})
        context = None
        if folder == "klvcg":  # reads the training split: here all clips, each without its own recording
            context = SimpleNamespace(dataset=SimpleNamespace(clips=lambda split: iter(clips)))
        return LikelihoodCommenter(folder, recipe.model(config), tokenizer, recipe.collator(config, tokenizer, context))

    return make
