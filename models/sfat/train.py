"""Train SFAT on a workspace, and load what was trained: the recipe for `videochat.models.training_run`."""

from __future__ import annotations

import copy
import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from videochat.commenter import LoadContext
from videochat.errors import Mismatch, MissingInput
from videochat.files import digest_json

from .. import mlm, training_run
from ..batches import Collator, Interval, comment_text
from ..commenter import LikelihoodCommenter
from ..encoder import BertMlm
from ..examples import EVALUATION_CLIPS, Example
from ..retrieval import KnowledgeTensors, keep_facts, store_of
from ..stage_one import digest_of, pretrain_context
from ..tokenizer import canonical
from ..training_run import Recipe, TrainingSettings, plain_collator, trained_tokenizer
from ..transcripts import transcript_tensors
from .clip_tokens import add_clip_tokens, clip_encoder
from .config import SIZES, SfatConfig
from .gated import STREAMS
from .model import SfatModel
from .pretrained import bert_fields, clip_text_fields, load_bert, load_text_tower, public_name, word_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from videochat.commenter import ClipView

    Extra = Callable[[Collator, Sequence[ClipView]], dict[str, Tensor]]

REFERENCE = Path(__file__).parent / "reference"
CLIP = "openai/clip-vit-base-patch32"  # whose text tower the released code trains

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


def collator_of(config: Any, tokenizer: PreTrainedTokenizerFast, context: LoadContext) -> Collator:
    collator = plain_collator(config, tokenizer, context)
    collator.draws = config.train_context_draws
    if config.bert:  # word pieces know no emotes, and the released texts have none
        with_emotes = collator.encode
        collator.encode = lambda text, emotes, max_tokens: with_emotes(text, (), max_tokens)
    if config.pooling == "oracle":
        collator.focal = focal_intervals(context)
    streams: list[Extra] = []
    if config.text_tower != "stored" and config.weighs_by_chat:
        streams.append(add_clip_tokens(clip_encoder()))
    if config.transcript != "off":
        streams.append(partial(transcript_tensors, most=config.max_transcript_tokens))
    if config.knowledge != "off":
        store = store_of(config, context, "sfat-knowledge")
        streams.append(KnowledgeTensors(store, num_facts=config.num_facts, max_tokens=config.max_knowledge_tokens))
    if streams:
        collator.extra = partial(joined, streams)
    return collator


def joined(streams: Sequence[Extra], collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
    """The tensors of all of them, as the `extra` of a Collator."""
    return {name: value for stream in streams for name, value in stream(collator, views).items()}


def about(config: SfatConfig, info: dict[str, Any]) -> str:
    gates = "".join(f"\nThe gate before the {name} is open to {value:.3f} on dev." for name, value in gates_of(info))
    return (
        "SFAT (arXiv 2510.26978), the semantic frame aggregation-based transformer for live comments, in the toolkit's "
        f"own\nimplementation: pooling `{config.pooling}`, {info['num_parameters']:,} parameters, width {config.width}."
        + gates
    )


def gates_of(info: dict[str, Any]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in info.get("gates", {}).items() if value is not None]


def facts(model: SfatModel, examples: Sequence[Example], collator: Collator) -> dict[str, Any]:
    """What training.json says of the gates: of each its mean over the dev clips in which something was said, or for
    which something was found (None: in none)."""
    opened: dict[str, list[float]] = {name: [] for name in STREAMS if getattr(model.config, name) != "off"}
    if not opened:
        return {}
    device = next(model.parameters()).device
    for start in range(0, len(examples), EVALUATION_CLIPS):
        part = examples[start : start + EVALUATION_CLIPS]
        batch = {name: value.to(device) for name, value in collator.clips([e.view for e in part]).items()}
        answers = collator.responses([e.responses[0] for e in part], range(len(part)))
        given = {name: value.to(device) for name, value in answers.items()}
        for stream, values in opened.items():
            found = model.gate_means(batch, **given, stream=stream)
            values += found[batch[f"{stream}_mask"].any(1)].tolist()
    means = {name: round(sum(values) / len(values), 6) if values else None for name, values in opened.items()}
    return {"gates": means}


# -- pretrained parts by name, and stage 1 of BERT


def tokenizer_of(context: LoadContext, settings: TrainingSettings) -> PreTrainedTokenizerFast:
    bert = str(context.options.get("bert", ""))
    return word_pieces(bert) if bert else trained_tokenizer(context, settings)


def prepare(model: SfatModel, context: LoadContext) -> None:
    """Pretrained parts, where they are named."""
    config = model.config
    if config.bert:
        load_bert(model, config.bert)
        config.bert = public_name(config.bert)
    if hasattr(model, "text_tower"):
        load_text_tower(model, config.clip_text_model or CLIP)
        config.clip_text_model = public_name(config.clip_text_model or CLIP)


def stage_one(
    model: SfatModel, context: LoadContext, settings: TrainingSettings, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, Any]]:
    """The context encoder learns the training split's chat by MLM. Returns the log."""
    if model.config.norm == "pre":
        return pretrain_context(model, context, settings, tokenizer)
    if not settings.mlm_epochs:
        return []
    torch.manual_seed(context.seed)
    pretrained: Any = BertMlm(copy.deepcopy(model.embedding), copy.deepcopy(model.context_encoder))  # type: ignore[arg-type]
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
            "starts_from": digest_of(pretrained),
            "model": "sfat",
        },
        folder=context.checkpoint.parent,
        device=context.device,
        mask_id=int(tokenizer.mask_token_id),
    )
    model.embedding.load_state_dict(pretrained.embedding.state_dict())
    model.context_encoder.load_state_dict(pretrained.encoder.state_dict())
    return log


RECIPE = Recipe(
    config=SfatConfig,
    model=SfatModel,
    sizes=SIZES,
    defaults=DEFAULTS,
    about=about,
    collator=collator_of,
    tokenizer=tokenizer_of,
    stage_one=stage_one,
    prepare=prepare,
    bundled={"sfat": REFERENCE},
    facts=facts,
)


def train(context: LoadContext, *, name: str, recipe: Recipe = RECIPE, **variant: Any) -> None:
    """Train on the train split, select on dev, write `context.checkpoint`. Nothing to do if it is current.

    variant: the fields of the configuration that make this name what it is. The option `facts` of sfat-knowledge names
    a file of facts, which the checkpoint keeps a copy of; `bert` and `text_tower` bring pretrained parts, which settle
    their own sizes.
    """
    options = dict(context.options)
    if bert := str(options.get("bert", "")):
        options = {**bert_fields(bert), **options}
        pieces = word_pieces(bert)
        variant |= {f"{kind}_token_id": getattr(pieces, f"{kind}_token_id") for kind in ("pad", "bos", "eos")}
    if options.get("text_tower", "stored") != "stored":
        clip = str(options.setdefault("clip_text_model", CLIP))
        variant["clip_text"] = clip_text_fields(clip)
        if context.dataset.dim is not None and variant["clip_text"]["projection_dim"] != context.dataset.dim:
            raise Mismatch(
                f"{clip} gives {variant['clip_text']['projection_dim']} numbers a text, the frames have "
                f"{context.dataset.dim}",
                fix="take the text tower of the CLIP that made the features",
            )
    training_run.train(keep_facts(dataclasses.replace(context, options=options)), recipe, name=name, **variant)


def load(context: LoadContext, *, name: str) -> LikelihoodCommenter:
    """The workspace's checkpoint of this variant, or for plain `sfat` on sample data the bundled reference model."""
    return training_run.load(context, RECIPE, name=name)
