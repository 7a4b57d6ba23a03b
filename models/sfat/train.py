"""Train SFAT on a workspace's training split in two stages, and load what was trained.

Stage 1, MLM on the chat, is shared by all variants of one workspace; stage 2 is teacher forcing on the answers,
selected by the loss on dev alone.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import platform
import shutil
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError

from videochat import __version__
from videochat.commenter import LoadContext
from videochat.errors import MissingInput, UsageError
from videochat.files import damaged, digest_file, digest_json
from videochat.progress import say

from .. import checkpoint, mlm
from ..batches import Collator, Interval, comment_text
from ..commenter import LikelihoodCommenter
from ..encoder import ContextEncoder, MlmModel, TokenEmbedding
from ..examples import Example, ResponseBatches, dev_loss, examples_of
from ..layers import initialise
from ..tokenizer import canonical, encoder_of, load_tokenizer, train_tokenizer
from ..training import StageResult, StageSettings, is_main_process, run_stage
from .card import model_card
from .config import MAX_CONTEXT_COMMENTS, SIZES, SfatConfig
from .model import SfatModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from videochat.dataset import Dataset

REFERENCE = Path(__file__).parent / "reference"
FORMAT = 1  # raise when the same settings would give another model


@dataclasses.dataclass(frozen=True, kw_only=True)
class SfatTraining:
    """What `videochat train --model sfat` may be told besides the fields of SfatConfig.

    size: a name in SIZES. vocab_size: at most so many tokens. epochs ... max_minutes: of stage 2, see StageSettings;
    mlm_*: of stage 1. responses_per_clip, null_probability: see ResponseBatches. limit: at most so many clips of each
    split, for a try (0: all).
    """

    size: str
    vocab_size: int = 8192
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    patience: int = 0
    max_minutes: float = 0.0
    mlm_epochs: int = 4
    mlm_batch_size: int = 256
    mlm_learning_rate: float = 2e-3
    responses_per_clip: int = 4
    null_probability: float = 0.1
    limit: int = 0

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise UsageError(f"size is {self.size!r}", fix=f"choose one of {', '.join(SIZES)}")
        for name, least in (("vocab_size", 1), ("responses_per_clip", 1), ("limit", 0), ("mlm_epochs", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}", fix=f"make it {least} or more")
        if not 0 <= self.null_probability <= 1:
            raise UsageError(f"null_probability is {self.null_probability}", fix="make it between 0 and 1")
        _ = self.mlm, self.answers  # wrong ones raise before any work

    @property
    def mlm(self) -> StageSettings:
        """Stage 1."""
        return StageSettings(
            epochs=self.mlm_epochs,
            batch_size=self.mlm_batch_size,
            learning_rate=self.mlm_learning_rate,
            weight_decay=self.weight_decay,
        )

    @property
    def answers(self) -> StageSettings:
        """Stage 2."""
        return StageSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            max_minutes=self.max_minutes,
        )


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
_FIXED = {"self", "kwargs", "vocab_size", "clip_dim", "pad_token_id", "bos_token_id", "eos_token_id"}  # by the data
CONFIG_FIELDS = frozenset(inspect.signature(SfatConfig.__init__).parameters) - _FIXED
LOAD_OPTIONS = frozenset({"allow_other_data"})


def settings_of(options: dict[str, Any], *, simulated: bool) -> tuple[SfatTraining, dict[str, Any]]:
    """Split options into training settings and config fields; texts are read as the type of the field's default."""
    size = str(options.get("size") or ("sample" if simulated else "small"))
    settings: dict[str, Any] = dict(DEFAULTS.get(size, {}))
    config: dict[str, Any] = {}
    fields = {field.name: field.default for field in dataclasses.fields(SfatTraining)}
    defaults = {name: p.default for name, p in inspect.signature(SfatConfig.__init__).parameters.items()}
    for name, value in options.items():
        if name in LOAD_OPTIONS or name == "size":
            continue
        if name in fields:
            settings[name] = _as(type(fields[name]), name, value)
        elif name in CONFIG_FIELDS:
            config[name] = _as(type(defaults[name]), name, value)
        else:
            known = sorted({*fields, *CONFIG_FIELDS})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise UsageError(f"unknown training option {name!r}", fix=hint)
    return SfatTraining(size=size, **settings), {**SIZES.get(size, {}), **config}


def _as(kind: type, name: str, value: Any) -> Any:
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "false": False}[value.casefold()]
        if kind is int and float(value) != int(float(value)):
            raise ValueError
        return kind(value)
    except (KeyError, ValueError, TypeError):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]
        raise UsageError(f"{name} is {value!r}, not {words}", fix=f"write --set {name}= with {words}") from None


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
    return Collator(
        encode=encoder_of(tokenizer),
        needs=config.needs,
        clip_dim=config.clip_dim,
        max_context_comments=config.max_context_comments,
        max_comment_tokens=config.max_comment_tokens,
        max_response_tokens=config.max_response_tokens,
        focal=focal_intervals(context) if config.pooling == "oracle" else None,
    )


def train(context: LoadContext, *, name: str, pooling: str) -> None:
    """Train on the train split, select on dev, write `context.checkpoint`. Nothing to do if it is current."""
    dataset = context.dataset
    settings, fields = settings_of(context.options, simulated=dataset.simulated)
    fields.setdefault("pooling", pooling)
    needs = SfatConfig(**fields).needs
    if missing := needs - dataset.provides:
        raise MissingInput(
            f"{name} needs {', '.join(sorted(missing))}, which these shards lack",
            fix="run `videochat build-features` and `videochat build`, or train sfat-text",
        )
    stamp = digest_json(
        {
            "format": FORMAT,
            "data": dataset.digest,
            "seed": context.seed,
            "settings": dataclasses.asdict(settings),
            "config": fields,
        }
    )
    if checkpoint.is_current(context.checkpoint, stamp):
        say(f"{name} is trained on these data already: {context.checkpoint}")
        return
    examples, dev = (_examples(dataset, split, settings.limit, fields) for split in ("train", "dev"))
    if not examples:
        raise MissingInput("the train split holds no answers to learn from", fix="build more recordings")
    tokenizer = train_tokenizer(
        (c for clip in dataset.clips("train") for c in (*clip.context, *clip.responses)), vocab_size=settings.vocab_size
    )
    config = SfatConfig(vocab_size=len(tokenizer), clip_dim=dataset.dim or 1, **fields)
    collator = collator_of(config, tokenizer, context)
    torch.manual_seed(context.seed)
    model = SfatModel(config)
    log = _stage_one(model, context, settings, tokenizer)
    state_path = context.checkpoint / "training" / "answers.safetensors"
    result = run_stage(
        model,
        stage="answers",
        num_items=len(examples),
        make_batch=ResponseBatches(
            examples=examples,
            collator=collator,
            responses_per_clip=settings.responses_per_clip,
            null_probability=settings.null_probability,
        ),
        evaluate=(lambda m: dev_loss(m, dev, collator)) if dev else None,
        settings=settings.answers,
        seed=context.seed,
        state_path=state_path,
        device=context.device,
        origin=stamp,
    )
    if is_main_process():
        info = {
            **_origin(context, settings, result),
            "stamp": stamp,
            "model": name,
            "needs": sorted(needs),
            "num_train_clips": len(examples),
            "num_dev_clips": len(dev),
            "num_parameters": sum(p.numel() for p in model.parameters()),
        }
        card = model_card(info, config)
        checkpoint.write(context.checkpoint, model.cpu(), tokenizer, info, [*log, *result.log], card)
        shutil.rmtree(state_path.parent, ignore_errors=True)


def _examples(dataset: Dataset, split: str, limit: int, config: dict[str, Any]) -> list[Example]:
    clips = islice(dataset.clips(split), limit or None)
    return examples_of(clips, max_context_comments=config.get("max_context_comments", MAX_CONTEXT_COMMENTS))


def _origin(context: LoadContext, settings: SfatTraining, result: StageResult) -> dict[str, Any]:
    """What training.json says of the data, the settings and the machine."""
    dataset = context.dataset
    return {
        "format": checkpoint.FORMAT,
        "data_digest": dataset.digest,
        "simulated": dataset.simulated,
        "split_by": dataset.split_by,
        "clip_dim": dataset.dim,
        "clip_fingerprint": checkpoint.clip_fingerprint(dataset),
        "train_recordings": checkpoint.recordings_of(dataset, "train"),
        "seed": context.seed,
        "settings": dataclasses.asdict(settings),
        "best_epoch": result.best_epoch,
        "dev_loss": min((row["dev_loss"] for row in result.log if row["dev_loss"] is not None), default=None),
        "stopped": result.stopped,
        "versions": {
            "videochat": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "num_threads": torch.get_num_threads(),
        "device": context.device,
    }


def _stage_one(
    model: SfatModel, context: LoadContext, settings: SfatTraining, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, Any]]:
    """Give `model` a pretrained embedding and context encoder, the same for all variants."""
    if not settings.mlm_epochs:
        return []
    config = model.config
    shape = {
        "width": config.width,
        "num_heads": config.num_heads,
        "hidden_width": config.feed_forward_width,
        "num_layers": config.num_context_layers,
        "dropout": config.dropout,
    }
    torch.manual_seed(context.seed)
    pretrained = MlmModel(TokenEmbedding(config.vocab_size, config.width), ContextEncoder(**shape))
    pretrained.apply(lambda module: initialise(module, config.width))
    encode = encoder_of(tokenizer)
    keys = {comment_text(c) for clip in context.dataset.clips("train") for c in (*clip.context, *clip.responses)}
    log = mlm.pretrain(
        pretrained,
        [encode(*key, config.max_comment_tokens) for key in sorted(keys)],
        settings=settings.mlm,
        seed=context.seed,
        identity={
            "data": context.dataset.digest,
            "tokenizer": digest_json(canonical(tokenizer)),
            "max_comment_tokens": config.max_comment_tokens,
            **shape,
        },
        folder=context.checkpoint.parent,
        device=context.device,
    )
    model.embedding.load_state_dict(pretrained.embedding.state_dict())
    model.context_encoder.load_state_dict(pretrained.encoder.state_dict())
    return log


def load(context: LoadContext, *, name: str) -> LikelihoodCommenter:
    """The workspace's checkpoint of this variant, or for plain `sfat` on sample data the bundled reference model."""
    folder, info = checkpoint.find(context, name, bundled=REFERENCE if name == "sfat" else None)
    try:
        with checkpoint.quiet():
            model = SfatModel.from_pretrained(folder, local_files_only=True)
        tokenizer = load_tokenizer(folder)
    except (OSError, RuntimeError, SafetensorError, TypeError, ValueError, LookupError) as error:
        raise damaged(folder, error, checkpoint.train_line(name, context)) from error
    assert isinstance(model.config, SfatConfig)
    collator = collator_of(model.config, tokenizer, context)
    return LikelihoodCommenter(
        name,
        model,
        tokenizer,
        collator,
        device=context.device,
        seed=info["seed"],
        checkpoint_digest=digest_file(folder / "model.safetensors"),
    )
