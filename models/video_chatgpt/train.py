"""Train a commenter by a language model on a workspace, and load it: the recipe of two names.

videochat train --model video-chatgpt-style --set language_model=/models/vicuna-7b
videochat train --model video-chatgpt-style --set language_model=/models/vicuna-7b --set lora_rank=8
videochat train --model mllm --set language_model=/models/vicuna-7b      # LoRA, and frames weighted as SFAT's
videochat train --model video-chatgpt-style --set language_model=chat    # a small one, made from the train split
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videochat.commenter import LoadContext
from videochat.errors import Mismatch, MissingInput, UsageError

from .. import checkpoint, training_run
from ..batches import Collator
from ..commenter import LikelihoodCommenter
from ..training_run import Recipe, TrainingSettings
from . import chat_language, language, lora
from .batches import Prompts
from .config import VICUNA, VideoChatgptConfig
from .model import VideoChatgptModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# The size is the language model's. paper, small: 3 epochs at 2e-5, batch 32, as published (FACTS §4), one answer of a
# clip at a time. sample: for the small language model that is made from the chat. mlm_*: of the making of that model.
SIZES: dict[str, dict[str, Any]] = {"sample": {}, "small": {}, "paper": {}}
PUBLISHED: dict[str, Any] = {"epochs": 3, "learning_rate": 2e-5, "batch_size": 32, "responses_per_clip": 1}
DEFAULTS: dict[str, dict[str, Any]] = {
    "sample": {
        "vocab_size": 2048,
        "epochs": 6,
        "batch_size": 16,
        "learning_rate": 1e-2,
        "mlm_epochs": 8,
        "mlm_batch_size": 32,
    },
    "small": {**PUBLISHED, "mlm_epochs": 3, "mlm_batch_size": 32, "mlm_learning_rate": 1e-3},
    "paper": {**PUBLISHED, "mlm_epochs": 3, "mlm_batch_size": 32, "mlm_learning_rate": 1e-3},
}


LORA_RATE = 2e-4  # where the published rate is the adapter's; that of Hu et al. 2021 for GPT-2 and GPT-3 (from memory)
# what a name stands for; each is an option of the other, too
VARIANTS: dict[str, dict[str, Any]] = {
    "video-chatgpt-style": {},
    "mllm": {"frame_weighting": "semantic", "num_frame_tokens": 6, "lora_rank": 8},
}


def _named(context: LoadContext) -> str:
    """The language model that the options name; a local folder by its full path, to be found from anywhere.

    Simulated data get one made from their own chat, others Vicuna.
    """
    default = chat_language.CHAT if context.dataset.simulated else VICUNA
    name = str(context.options.get("language_model") or default)
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def _train_line(context: LoadContext) -> str:
    return checkpoint.train_line(context.checkpoint.name.removesuffix(f"-seed{context.seed}"), context)


def _place(name: str, context: LoadContext) -> str:
    """Where transformers finds it."""
    if not name.startswith(f"{chat_language.CHAT}:"):
        return name
    folder = chat_language.folder(name, context.checkpoint.parent)
    if not folder.is_dir():
        raise MissingInput(f"the language model {name} is not in {folder.parent}", fix=_train_line(context))
    return str(folder)


def _tokenizer(context: LoadContext, settings: TrainingSettings) -> Any:
    if settings.tokenizer:
        raise UsageError("the language model has a tokenizer of its own", fix="leave out --set tokenizer=")
    return language.load_tokenizer(_place(_named(context), context))


def collator_of(
    config: VideoChatgptConfig, tokenizer: PreTrainedTokenizerFast, context: LoadContext | None = None
) -> Collator:
    prompts = Prompts(tokenizer, config)
    return Collator(
        encode=prompts.encode,
        needs=config.needs,
        clip_dim=config.clip_dim,
        max_context_comments=config.max_context_comments,
        max_comment_tokens=config.max_comment_tokens,
        max_response_tokens=config.max_response_tokens,
        extra=prompts,
    )


def _attach(model: VideoChatgptModel, context: LoadContext) -> None:
    model.attach(language.load_language_model(_place(model.config.language_model, context), device=context.device))


def _restore(folder: Path, context: LoadContext) -> VideoChatgptModel:
    model = VideoChatgptModel.from_pretrained(folder, local_files_only=True)
    config = model.config
    if language.digest_of(_place(config.language_model, context)) != config.language_digest:
        raise Mismatch(
            f"the language model {config.language_model} is not the one that the adapter was trained for",
            fix=_train_line(context),
        )
    _attach(model, context)
    return model


def about(config: VideoChatgptConfig, info: dict[str, Any]) -> str:
    return (
        "Video-ChatGPT-style: after Video-ChatGPT (arXiv 2306.05424) in the toolkit's own implementation: the adapter\n"
        f"({info['num_parameters']:,} parameters) that makes tokens of the causal language model "
        f"`{Path(config.language_model).name}` (digest\n`{config.language_digest[:12]}`, frozen, not part of this "
        "checkpoint) out of CLIP's frame vectors."
    )


RECIPE = Recipe(
    config=VideoChatgptConfig,
    model=VideoChatgptModel,
    sizes=SIZES,
    defaults=DEFAULTS,
    about=about,
    collator=collator_of,
    tokenizer=_tokenizer,
    stage_one=None,
    prepare=_attach,
    restore=_restore,
)


def train(context: LoadContext, *, name: str) -> None:
    """Train what is learnt beside the language model on the train split, select on dev, write `context.checkpoint`."""
    chosen = _named(context)
    simulated = context.dataset.simulated
    settings, fields = training_run.settings_of(RECIPE, context.options, simulated=simulated)
    fields = {**VARIANTS[name], **fields}
    if fields.get("lora_rank") and settings.size != "sample" and "learning_rate" not in context.options:
        context = dataclasses.replace(context, options={**context.options, "learning_rate": LORA_RATE})
    if chosen == chat_language.CHAT:
        chosen = chat_language.make(context, settings)
    place = _place(chosen, context)
    training_run.train(
        dataclasses.replace(context, options={**context.options, "language_model": chosen}),
        RECIPE,
        name=name,
        **VARIANTS[name],
        language_width=language.width_of(place),
        language_digest=language.digest_of(place),
        lora_shapes=lora.shapes(language.language_config(place), VideoChatgptConfig(**fields)),
    )


def load(context: LoadContext, *, name: str) -> LikelihoodCommenter:
    """The workspace's checkpoint, with its language model."""
    return training_run.load(context, RECIPE, name=name)
