"""The recipe for VideoIC's MML-CG; it has no stage 1."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from videochat.commenter import LoadContext

from .. import training_run
from ..batches import Collator
from ..commenter import LikelihoodCommenter
from ..training_run import Recipe, plain_collator
from .config import SIZES, VideoicConfig
from .model import VideoicModel, comment_seconds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# paper: Adam 1e-3, weight decay 1e-3, batch 32, early stop after 20 epochs without gain (FACTS §4).
# sample: more epochs than SFAT, since after 12 the dev loss of the sample world still fell.
DEFAULTS: dict[str, dict[str, Any]] = {
    "sample": {"vocab_size": 2048, "epochs": 20},
    "small": {"learning_rate": 1e-3, "epochs": 8, "patience": 2},
    "paper": {
        "vocab_size": 30_000,
        "learning_rate": 1e-3,
        "weight_decay": 1e-3,
        "batch_size": 32,
        "epochs": 100,
        "patience": 20,
    },
}


def collator_of(config: VideoicConfig, tokenizer: PreTrainedTokenizerFast, context: LoadContext) -> Collator:
    collator = plain_collator(config, tokenizer, context)
    collator.extra = partial(comment_seconds, num_seconds=config.num_seconds, most=config.max_comments_per_second)
    return collator


def about(config: VideoicConfig, info: dict[str, Any]) -> str:
    return (
        "The generation part of MML-CG (VideoIC), in the toolkit's own implementation, on CLIP features and without a "
        f"look\nahead: {info['num_parameters']:,} parameters, width {config.width}."
    )


RECIPE = Recipe(
    config=VideoicConfig,
    model=VideoicModel,
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
