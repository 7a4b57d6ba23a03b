"""The recipe for TTE, and its stage 1: MLM for both text encoders."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from videochat.commenter import LoadContext, view

from .. import training_run
from ..batches import Collator
from ..commenter import LikelihoodCommenter
from ..stage_one import pretrain_context, pretrain_encoder
from ..training_run import Recipe, TrainingSettings, plain_collator
from ..transcripts import transcript_tensors, transcript_text
from .config import SIZES, TteConfig
from .model import TteModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# paper: 100 epochs of both stages, Adam 1e-4, batch 32 (FACTS §4); the others as for SFAT of that
# size, with more epochs in "sample": after 12 the dev loss of the sample world still fell.
DEFAULTS: dict[str, dict[str, Any]] = {
    "sample": {"vocab_size": 2048, "epochs": 20, "mlm_epochs": 3},
    "small": {"learning_rate": 1e-3, "mlm_learning_rate": 1e-3, "epochs": 8, "mlm_epochs": 2, "patience": 2},
    "paper": {
        "vocab_size": 30_522,
        "learning_rate": 1e-4,
        "mlm_learning_rate": 1e-4,
        "batch_size": 32,
        "mlm_batch_size": 32,
        "epochs": 100,
        "mlm_epochs": 100,
    },
}


def collator_of(config: TteConfig, tokenizer: PreTrainedTokenizerFast, context: LoadContext) -> Collator:
    collator = plain_collator(config, tokenizer, context)
    collator.extra = partial(transcript_tensors, most=config.max_transcript_tokens)
    return collator


def pretrain_texts(
    model: TteModel, context: LoadContext, settings: TrainingSettings, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, Any]]:
    """MLM on the chat, then on the transcripts, whose encoder starts where the chat's ended and shares its embedding.

    Data without transcripts leave it there.
    """
    log = pretrain_context(model, context, settings, tokenizer)
    model.transcript_encoder.load_state_dict(model.context_encoder.state_dict())
    said = {transcript_text(view(clip)) for clip in context.dataset.clips("train")} - {""}
    if not said or not settings.mlm_epochs:
        return log
    rows = pretrain_encoder(
        model.embedding,
        model.transcript_encoder,
        [(text, ()) for text in sorted(said)],
        shape=model.config.context_shape,
        max_tokens=model.config.max_transcript_tokens,
        context=context,
        settings=settings,
        tokenizer=tokenizer,
        goes_on=True,
    )
    return [*log, *({**row, "stage": "mlm-transcript"} for row in rows)]


def about(config: TteConfig, info: dict[str, Any]) -> str:
    return (
        "TTE, the three-stream model of LiveChat (chat, transcript, all frames), in the toolkit's own implementation\n"
        f"and on CLIP features: {info['num_parameters']:,} parameters, width {config.width}."
    )


RECIPE = Recipe(
    config=TteConfig,
    model=TteModel,
    sizes=SIZES,
    defaults=DEFAULTS,
    about=about,
    collator=collator_of,
    stage_one=pretrain_texts,
)


def train(context: LoadContext, *, name: str) -> None:
    training_run.train(context, RECIPE, name=name)


def load(context: LoadContext, *, name: str) -> LikelihoodCommenter:
    return training_run.load(context, RECIPE, name=name)
