"""The recipe for LiveBot's Unified Transformer; it has no stage 1."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from videochat.commenter import LoadContext

from .. import training_run
from ..batches import Collator
from ..commenter import LikelihoodCommenter
from ..training_run import Recipe, plain_collator
from .config import SIZES, LivebotConfig
from .model import LivebotModel, joined_comments

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# paper: Adam 3e-4, batch 64 (FACTS §4, which tells no number of epochs); the others as for SFAT of that
# size, with more epochs in "sample": after 12 the dev loss of the sample world still fell.
DEFAULTS: dict[str, dict[str, Any]] = {
    "sample": {"vocab_size": 2048, "epochs": 20},
    "small": {"learning_rate": 1e-3, "epochs": 8, "patience": 2},
    "paper": {"vocab_size": 30_000, "learning_rate": 3e-4, "batch_size": 64},
}


def collator_of(config: LivebotConfig, tokenizer: PreTrainedTokenizerFast, context: LoadContext) -> Collator:
    collator = plain_collator(config, tokenizer, context)
    collator.extra = partial(joined_comments, most=config.max_context_tokens)
    return collator


def about(config: LivebotConfig, info: dict[str, Any]) -> str:
    return (
        "The Unified Transformer of LiveBot (arXiv 1809.04938), in the toolkit's own implementation, on CLIP features "
        f"and\nwithout a look ahead: {info['num_parameters']:,} parameters, width {config.width}."
    )


RECIPE = Recipe(
    config=LivebotConfig,
    model=LivebotModel,
    sizes=SIZES,
    defaults=DEFAULTS,
    about=about,
    collator=collator_of,
    stage_one=None,
)


def train(context: LoadContext, *, name: str) -> None:
    training_run.train(context, RECIPE, name=name)


def load(context: LoadContext, *, name: str) -> LikelihoodCommenter:
    return training_run.load(context, RECIPE, name=name)
