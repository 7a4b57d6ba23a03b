"""`sfat-released`: the preset of the released network (`config.RELEASED`), with the sizes and settings of its training.

What it is and where it differs: RELEASED.md.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from videochat.commenter import LoadContext
from videochat.errors import Mismatch
from videochat.files import digest_file
from videochat.progress import say

from .. import checkpoint, training_run
from ..commenter import LikelihoodCommenter
from ..tokenizer import load_tokenizer
from . import train as sfat
from .config import RELEASED, RELEASED_SIZES, SfatConfig
from .model import SfatModel

NAME = "sfat-released"
CONVERTED = "converted"  # of training.json: made by `convert-checkpoint`, trained elsewhere

# released: as published (FACTS §1); the others reach further in fewer steps.
DEFAULTS: dict[str, dict[str, Any]] = {
    "sample": {"vocab_size": 2048, "epochs": 12, "mlm_epochs": 3, "responses_per_clip": 4},
    "small": {"learning_rate": 5e-4, "mlm_learning_rate": 5e-4, "epochs": 8, "mlm_epochs": 2, "patience": 2},
    "released": {
        "learning_rate": 1e-4,
        "mlm_learning_rate": 1e-4,
        "batch_size": 32,
        "mlm_batch_size": 160,  # 32 clips of 5 comments
        "epochs": 200,
        "mlm_epochs": 100,
        "weight_decay": 0.0,
        "responses_per_clip": 1,
        "null_probability": 0.0,
    },
}


def about(config: SfatConfig, info: dict[str, Any]) -> str:
    parts = f"BERT {config.bert or 'from scratch'}, CLIP text: {config.text_tower}"
    return (
        "The network of the SFAT authors' released code (arXiv 2510.26978), in the toolkit's own implementation: "
        f"{info['num_parameters']:,} parameters,\nwidth {config.width}, {parts}. It differs in what RELEASED.md of "
        "`videochat.models.sfat` lists."
    )


RECIPE = dataclasses.replace(
    sfat.RECIPE, preset=RELEASED, sizes=RELEASED_SIZES, defaults=DEFAULTS, about=about, bundled={}
)


def train(context: LoadContext, *, name: str = NAME) -> None:
    """Train on the train split, select on dev, write `context.checkpoint`. Nothing to do if it is current."""
    if (checkpoint.read_info(context.checkpoint) or {}).get(CONVERTED):
        raise Mismatch(f"{context.checkpoint} holds converted weights", fix="move it away to train here")
    sfat.train(context, name=name, recipe=RECIPE)


def load(context: LoadContext, *, name: str = NAME) -> LikelihoodCommenter:
    """What was trained on this workspace, or converted into it."""
    info = checkpoint.read_info(context.checkpoint, fix=checkpoint.train_line(name, context))
    if info is None or not info.get(CONVERTED):
        return training_run.load(context, RECIPE, name=name)
    dataset = context.dataset
    if not set(info["needs"]) <= dataset.provides or info["clip_dim"] != dataset.dim:
        raise Mismatch(
            f"{name} reads {info['clip_dim']}-d CLIP features, these are of {dataset.dim} dimensions",
            fix="build features with ViT-B-32 of OpenAI, as the released code does",
        )
    say(f"{name} was converted: what it was trained on is unknown, these recordings may be among it")
    with checkpoint.quiet():
        model = SfatModel.from_pretrained(context.checkpoint, local_files_only=True)
    tokenizer = load_tokenizer(context.checkpoint)
    return LikelihoodCommenter(
        name,
        model,
        tokenizer,
        sfat.collator_of(model.config, tokenizer, context),
        device=context.device,
        checkpoint_digest=digest_file(context.checkpoint / "model.safetensors"),
    )
