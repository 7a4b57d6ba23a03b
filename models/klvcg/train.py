"""Train a KLVCG-style model on a workspace, and load what was trained: the recipe, and the pretraining of its own.

videochat train --model klvcg-style --set facts=games.jsonl
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from videochat.commenter import LoadContext
from videochat.files import digest_json

from .. import training_run
from ..batches import Collator
from ..commenter import LikelihoodCommenter
from ..encoder import SummedLoss
from ..examples import ResponseBatches, examples_of
from ..mlm import IGNORED, mask_tokens
from ..packing import pack
from ..retrieval import keep_facts, store_of
from ..training import run_stage
from ..training_run import Recipe, TrainingSettings, plain_collator
from .batches import KnowledgeAndSlots
from .config import SIZES, KlvcgConfig
from .model import KlvcgModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAME = "klvcg-style"

# mlm_* are of the pretraining on masked answers. paper: rate and batch size as published (FACTS §4).
DEFAULTS: dict[str, dict[str, Any]] = {
    # sample: small batches, as what it needs most is steps: it first reads all frames alike, then learns to look
    "sample": {"vocab_size": 2048, "epochs": 16, "batch_size": 16, "mlm_epochs": 1, "mlm_batch_size": 16},
    "small": {
        "learning_rate": 1e-3,
        "mlm_learning_rate": 1e-3,
        "epochs": 8,
        "mlm_epochs": 2,
        "mlm_batch_size": 64,
        "patience": 2,
    },
    "paper": {
        "vocab_size": 30_000,
        "learning_rate": 1e-4,
        "mlm_learning_rate": 1e-4,
        "batch_size": 128,
        "mlm_batch_size": 128,
        "epochs": 20,
        "mlm_epochs": 5,
        "patience": 3,
    },
}


def collator_of(config: KlvcgConfig, tokenizer: PreTrainedTokenizerFast, context: LoadContext) -> Collator:
    collator = plain_collator(config, tokenizer, context)
    collator.extra = KnowledgeAndSlots(config, store_of(config, context, NAME))
    return collator


class MaskedAnswers(nn.Module):
    """Pretraining: the decoder, looking both ways, finds the masked tokens of an answer."""

    def __init__(self, model: KlvcgModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, labels: Tensor, response_ids: Tensor, response_lengths: Tensor, **batch: Tensor) -> SummedLoss:
        """response_ids: with masks; labels (R, T): the true token where masked, else IGNORED."""
        owner = batch.pop("response_clip")
        packing = pack(response_lengths.tolist(), response_ids.device)
        source = packing.source(response_ids.shape[1])
        labels_S = labels.flatten()[source]
        memories = self.model.memories(self.model.encode(batch))
        hidden = self.model.decoder.packed(
            self.model.embedding,
            response_ids.flatten()[source],
            packing,
            owner[packing.sequence_S],
            memories,
            causal=False,
        )
        masked = labels_S != IGNORED
        logits = self.model.embedding.logits(hidden[masked]).float()
        return SummedLoss(F.cross_entropy(logits, labels_S[masked], reduction="sum"), masked.sum())


def pretrain(
    model: KlvcgModel, context: LoadContext, settings: TrainingSettings, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, Any]]:
    """Stage 1: a share of each answer's tokens is masked and there is no causal mask (FACTS §4). Returns the log."""
    config = model.config
    assert isinstance(config, KlvcgConfig)
    if not settings.mlm_epochs:
        return []
    clips = islice(context.dataset.clips("train"), settings.limit or None)
    examples = examples_of(clips, max_context_comments=config.max_context_comments)
    draw = ResponseBatches(
        examples=examples,
        collator=collator_of(config, tokenizer, context),
        responses_per_clip=settings.responses_per_clip,
        null_probability=settings.null_probability,
    )

    def batch(indices: np.ndarray, random: np.random.Generator) -> dict[str, Tensor]:
        drawn = draw(indices, random)
        ids, labels = mask_tokens(
            drawn["response_ids"],
            drawn["response_lengths"],
            random,
            probability=config.target_mask,
            mask_id=int(tokenizer.mask_token_id),
        )
        return drawn | {"response_ids": ids, "labels": labels}

    result = run_stage(
        MaskedAnswers(model),
        stage="masked-answers",
        num_items=len(examples),
        make_batch=batch,
        evaluate=None,
        settings=settings.mlm,
        seed=context.seed,
        state_path=context.checkpoint / "training" / "masked-answers.safetensors",
        device=context.device,
        origin=digest_json({"data": context.dataset.digest, "config": config.to_dict()}),
    )
    return result.log


def about(config: KlvcgConfig, info: dict[str, Any]) -> str:
    knowledge = [
        *(["the training split's comments"] if config.chat_knowledge else []),
        *([f"facts of its user (digest `{config.facts_digest[:12]}`)"] if config.facts_digest else []),
    ]
    return (
        "KLVCG-style: after KLVCG (arXiv 2304.14657) in the toolkit's own implementation, with CLIP features, no look\n"
        f"at the future and other knowledge than its source: {' and '.join(knowledge) or 'none'}; "
        f"{info['num_parameters']:,} parameters, width {config.width}."
    )


RECIPE = Recipe(
    config=KlvcgConfig,
    model=KlvcgModel,
    sizes=SIZES,
    defaults=DEFAULTS,
    about=about,
    collator=collator_of,
    stage_one=pretrain,
)


def train(context: LoadContext, *, name: str) -> None:
    """Train on the train split, select on dev, write `context.checkpoint`. The option `facts` names a file of facts,
    which the checkpoint keeps a copy of."""
    training_run.train(keep_facts(context), RECIPE, name=name)


def load(context: LoadContext, *, name: str) -> LikelihoodCommenter:
    """The workspace's checkpoint."""
    return training_run.load(context, RECIPE, name=name)
