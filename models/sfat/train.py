"""Train SFAT on a workspace, and load what was trained: the recipe for `videochat.models.training_run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from videochat.commenter import LoadContext
from videochat.errors import MissingInput

from .. import training_run
from ..batches import Collator, Interval
from ..commenter import LikelihoodCommenter
from ..training_run import Recipe, plain_collator
from .config import SIZES, SfatConfig
from .model import SfatModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

REFERENCE = Path(__file__).parent / "reference"

# What the sizes change: small steps for large widths (chosen on dev of simulated and of real chat).
DEFAULTS: dict[str, dict[str, Any]] = {
    "sample": {"vocab_size": 2048, "epochs": 12, "mlm_epochs": 3},
    "small": {"learning_rate": 1e-3, "mlm_learning_rate": 1e-3, "epochs": 8, "mlm_epochs": 2, "patience": 2},
    "base": {
        "vocab_size": 50_000,
        "learning_rate": 2e-4,
        "mlm_learning_rate": 2e-4,
        "epochs": 10,
        "mlm_epochs": 2,
        "patience": 2,
    },
}


def focal_intervals(context: LoadContext) -> dict[str, Interval]:
    """clip id -> interval of the event that its comments answer; only simulated data have it."""
    if not context.dataset.simulated:
        raise MissingInput(
            "oracle pooling needs the focal events of simulated data, these are real",
            fix="use --model sfat, or make a simulated workspace with `videochat sample`",
        )
    from videochat.sample.truth import focal_events

    return {clip: (event.start_ms, event.end_ms) for clip, event in focal_events(context.workspace).items()}


def collator_of(config: SfatConfig, tokenizer: PreTrainedTokenizerFast, context: LoadContext) -> Collator:
    collator = plain_collator(config, tokenizer, context)
    if config.pooling == "oracle":
        collator.focal = focal_intervals(context)
    return collator


def about(config: SfatConfig, info: dict[str, Any]) -> str:
    return (
        "SFAT (arXiv 2510.26978), the semantic frame aggregation-based transformer for live comments, in the toolkit's "
        f"own\nimplementation: pooling `{config.pooling}`, {info['num_parameters']:,} parameters, width {config.width}."
    )


RECIPE = Recipe(
    config=SfatConfig,
    model=SfatModel,
    sizes=SIZES,
    defaults=DEFAULTS,
    about=about,
    collator=collator_of,
    bundled={"sfat": REFERENCE},
)


def train(context: LoadContext, *, name: str, pooling: str) -> None:
    """Train on the train split, select on dev, write `context.checkpoint`. Nothing to do if it is current."""
    training_run.train(context, RECIPE, name=name, pooling=pooling)


def load(context: LoadContext, *, name: str) -> LikelihoodCommenter:
    """The workspace's checkpoint of this variant, or for plain `sfat` on sample data the bundled reference model."""
    return training_run.load(context, RECIPE, name=name)
