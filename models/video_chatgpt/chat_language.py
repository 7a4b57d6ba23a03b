"""A small causal language model made from the training split's chat, for data and machines without a pretrained one.

    name = make(context, settings)                    # "chat:3f9c0a1b2c3d", kept in checkpoints/chat-lm-3f9c0a1b2c3d
    folder(name, context.checkpoint.parent)

It is a Llama of two to four layers that learns prompts as `Prompts` writes them, without frames, each with one of its
answers, the same for all adapters of a workspace. In half of them the chat goes on up to that answer, earlier answers
included, as any text does that a language model is made from: so it learns that what was said is said again. The
name is relative to the checkpoints, so a workspace can move.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from videochat.commenter import ClipView, LoadContext
from videochat.errors import MissingInput
from videochat.files import digest_json, unfinished
from videochat.schema import Comment

from ..batches import empty_view, pad
from ..checkpoint import quiet
from ..encoder import SummedLoss
from ..examples import Example, examples_of
from ..training import is_main_process, one_at_a_time, run_stage
from ..training_run import TrainingSettings, trained_tokenizer
from .batches import Prompts
from .config import VideoChatgptConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHAT = "chat"
FORMAT = 2  # raise when the same settings would give another model
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2},
    "sample": {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4},
}
GOES_ON = 0.5  # share of the prompts whose chat goes on up to the answer (our choice)
MAX_POSITIONS = 1024  # 30 frames and 15 comments of 24 tokens take less than half


def folder(name: str, checkpoints: Path) -> Path:
    """Where the language model `chat:<digest>` of a workspace lies."""
    return checkpoints / f"chat-lm-{name.partition(':')[2]}"


class _LanguageStage(nn.Module):
    """Next-token prediction on whole prompts with their answer."""

    def __init__(self, language_model: LlamaForCausalLM) -> None:
        super().__init__()
        self.language_model = language_model

    def forward(self, ids: Tensor, lengths: Tensor) -> SummedLoss:
        """ids int64 (R, T), padded on the right; lengths (R,): how many of them are real."""
        real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        logits = self.language_model(input_ids=ids, attention_mask=real.long(), use_cache=False).logits[:, :-1]
        wanted = real[:, 1:]
        loss = F.cross_entropy(logits[wanted].float(), ids[:, 1:][wanted], reduction="sum")
        return SummedLoss(loss, wanted.sum())


def make(context: LoadContext, settings: TrainingSettings) -> str:
    """Train it, unless the same was made before; `mlm_*` of the settings are its epochs, batch size and rate."""
    shape = SHAPES.get(settings.size, SHAPES["small"])
    what = {
        "format": FORMAT,
        "data": context.dataset.digest,
        "seed": context.seed,
        "shape": shape,
        "settings": {
            name: value
            for name, value in settings.told().items()
            if name.startswith("mlm_")
            or name in ("vocab_size", "null_probability", "limit", "weight_decay", "precision")
        },
    }
    name = f"{CHAT}:{digest_json(what)[:12]}"
    with one_at_a_time(context.checkpoint.parent):
        home = folder(name, context.checkpoint.parent)
        if not home.is_dir():
            _make(name, home, shape, context, settings)
    return name


def _make(name: str, home: Path, shape: dict[str, Any], context: LoadContext, settings: TrainingSettings) -> None:
    config = VideoChatgptConfig()
    clips = islice(context.dataset.clips("train"), settings.limit or None)
    examples = examples_of(clips, max_context_comments=config.max_context_comments)
    if not examples:
        raise MissingInput("the train split holds no answers to learn from", fix="build more recordings")
    tokenizer = trained_tokenizer(context, settings)
    torch.manual_seed(context.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            intermediate_size=4 * shape["hidden_size"],
            max_position_embeddings=MAX_POSITIONS,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **shape,
        )
    )
    run_stage(
        _LanguageStage(model),
        stage="language",
        num_items=len(examples),
        make_batch=_Drawing(examples, Prompts(tokenizer, config), config, settings),
        evaluate=None,
        settings=settings.mlm,
        seed=context.seed,
        state_path=context.checkpoint / "training" / "language.safetensors",
        device=context.device,
        origin=name,
    )
    if is_main_process():
        _write(home, model.cpu(), tokenizer)


@dataclasses.dataclass(frozen=True)
class _Drawing:
    """Prompts of the clips, each with one of its answers, drawn anew each time."""

    examples: Sequence[Example]
    prompts: Prompts
    config: VideoChatgptConfig
    settings: TrainingSettings

    def __call__(self, indices: np.ndarray, random: np.random.Generator) -> dict[str, Tensor]:
        rows: list[tuple[int, ...]] = []
        for index in indices:
            example = self.examples[index]
            blind = dataclasses.replace(example.view, frames=None, frame_ms=None)
            place = int(random.integers(len(example.responses)))
            text = example.responses[place]
            if random.random() < GOES_ON:
                blind = _after(blind, example.responses[:place])
            shown = empty_view() if random.random() < self.settings.null_probability else blind
            prompt = self.prompts.prompt(shown)
            rows.append((*prompt, *self.prompts.encode(text, (), self.config.max_response_tokens)))
        ids, lengths = pad(rows)
        return {"ids": ids, "lengths": lengths}


def _after(view: ClipView, said: Sequence[str]) -> ClipView:
    """The chat when these, too, have been said."""
    comments = [Comment(offset_ms=view.now_ms, author="", text=text, emotes=()) for text in said]
    return dataclasses.replace(view, context=(*view.context, *comments))


def _write(home: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Under a temporary name first: what exists under its name is whole."""
    temporary = home.with_name(f".{home.name}.{unfinished()}")
    try:
        with quiet():
            model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        (temporary / "model.safetensors").chmod(0o644)
        temporary.rename(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
