"""Train the released SFAT on a workspace, and load what was trained or converted."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videochat.commenter import LoadContext
from videochat.errors import Mismatch
from videochat.files import digest_file, digest_json
from videochat.progress import say

from .. import checkpoint, mlm, training_run
from ..batches import Collator, comment_text
from ..commenter import LikelihoodCommenter
from ..encoder import SummedLoss
from ..tokenizer import canonical, load_tokenizer
from ..training_run import Recipe, TrainingSettings, plain_collator, trained_tokenizer
from .clip_tokens import add_clip_tokens, clip_encoder
from .config import SIZES, SfatReleasedConfig
from .layers import BertEmbedding, BertEncoder
from .model import SfatReleasedModel
from .pretrained import bert_fields, clip_text_fields, load_bert, load_text_tower, public_name, word_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAME = "sfat-released"
CLIP = "openai/clip-vit-base-patch32"  # whose text tower the released code trains
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


def collator_of(config: Any, tokenizer: PreTrainedTokenizerFast, context: LoadContext) -> Collator:
    collator = plain_collator(config, tokenizer, context)
    collator.draws = config.train_context_draws
    if config.bert:  # word pieces know no emotes, and the released texts have none
        with_emotes = collator.encode
        collator.encode = lambda text, emotes, max_tokens: with_emotes(text, (), max_tokens)
    if config.text_tower != "stored":
        collator.extra = add_clip_tokens(clip_encoder())
    return collator


def tokenizer_of(context: LoadContext, settings: TrainingSettings) -> PreTrainedTokenizerFast:
    bert = str(context.options.get("bert", ""))
    return word_pieces(bert) if bert else trained_tokenizer(context, settings)


def start(model: SfatReleasedModel, context: LoadContext) -> None:
    """Pretrained parts, where they are named."""
    config = model.config
    if config.bert:
        load_bert(model, config.bert)
        config.bert = public_name(config.bert)
    if config.text_tower != "stored":
        load_text_tower(model, config.clip_text_model or CLIP)
        config.clip_text_model = public_name(config.clip_text_model or CLIP)


class BertMlm(nn.Module):
    """Stage 1: a linear head on the last hidden state, as in the released code; masks fall on real tokens only."""

    def __init__(self, embedding: BertEmbedding, encoder: BertEncoder) -> None:
        super().__init__()
        self.embedding, self.encoder = embedding, encoder
        self.embedding.output.requires_grad_(False)
        self.head = nn.Linear(embedding.word.embedding_dim, embedding.word.num_embeddings)

    def forward(self, ids: Tensor, lengths: Tensor, labels: Tensor) -> SummedLoss:
        hidden, source_S, _ = self.encoder.packed(self.embedding, ids, lengths)
        labels_S = labels.flatten()[source_S]
        masked = labels_S >= 0
        loss = F.cross_entropy(self.head(hidden[masked]).float(), labels_S[masked], reduction="sum")
        return SummedLoss(loss, masked.sum())


def stage_one(
    model: SfatReleasedModel, context: LoadContext, settings: TrainingSettings, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, Any]]:
    """The context encoder learns the training split's chat by MLM. Returns the log."""
    if not settings.mlm_epochs:
        return []
    torch.manual_seed(context.seed)
    pretrained: Any = BertMlm(copy.deepcopy(model.embedding), copy.deepcopy(model.context_encoder))
    encode = collator_of(model.config, tokenizer, context).encode
    keys = {comment_text(comment) for comment in context.dataset.comments("train")}
    assert tokenizer.mask_token_id is not None
    log = mlm.pretrain(
        pretrained,
        [encode(*key, model.config.max_comment_tokens) for key in sorted(keys)],
        settings=settings.mlm,
        seed=context.seed,
        identity={
            "data": context.dataset.digest,
            "tokenizer": digest_json(canonical(tokenizer)),
            "config": model.config.to_dict(),
            "starts_from": _digest_of(pretrained),
            "model": NAME,
        },
        folder=context.checkpoint.parent,
        device=context.device,
        mask_id=int(tokenizer.mask_token_id),
    )
    model.embedding.load_state_dict(pretrained.embedding.state_dict())
    model.context_encoder.load_state_dict(pretrained.encoder.state_dict())
    return log


def _digest_of(module: nn.Module) -> str:
    """Digest of the weights that stage 1 begins with: those of a folder may change under its name."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def about(config: SfatReleasedConfig, info: dict[str, Any]) -> str:
    parts = f"BERT {config.bert or 'from scratch'}, CLIP text: {config.text_tower}"
    return (
        "The network of the SFAT authors' released code (arXiv 2510.26978), in the toolkit's own implementation: "
        f"{info['num_parameters']:,} parameters,\nwidth {config.width}, {parts}. It differs in what README.md of "
        "`videochat.models.sfat_released` lists."
    )


RECIPE = Recipe(
    config=SfatReleasedConfig,
    model=SfatReleasedModel,
    sizes=SIZES,
    defaults=DEFAULTS,
    about=about,
    collator=collator_of,
    tokenizer=tokenizer_of,
    stage_one=stage_one,
    prepare=start,
)


def train(context: LoadContext, *, name: str = NAME) -> None:
    """Train on the train split, select on dev, write `context.checkpoint`. Nothing to do if it is current."""
    if (checkpoint.read_info(context.checkpoint) or {}).get(CONVERTED):
        raise Mismatch(f"{context.checkpoint} holds converted weights", fix="move it away to train here")
    options = dict(context.options)
    variant: dict[str, Any] = {}
    if bert := str(options.get("bert", "")):
        options = {**bert_fields(bert), **options}
        variant = {**variant, **_special_ids(word_pieces(bert))}
    if options.get("text_tower", "stored") != "stored":
        clip = str(options.setdefault("clip_text_model", CLIP))
        variant["clip_text"] = clip_text_fields(clip)
        if context.dataset.dim is not None and variant["clip_text"]["projection_dim"] != context.dataset.dim:
            raise Mismatch(
                f"{clip} gives {variant['clip_text']['projection_dim']} numbers a text, the frames have "
                f"{context.dataset.dim}",
                fix="take the text tower of the CLIP that made the features",
            )
    training_run.train(dataclasses.replace(context, options=options), RECIPE, name=name, **variant)


def _special_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("pad", "bos", "eos")}


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
        model = SfatReleasedModel.from_pretrained(context.checkpoint, local_files_only=True)
    tokenizer = load_tokenizer(context.checkpoint)
    return LikelihoodCommenter(
        name,
        model,
        tokenizer,
        collator_of(model.config, tokenizer, context),
        device=context.device,
        checkpoint_digest=digest_file(context.checkpoint / "model.safetensors"),
    )
