"""One training run for every model with weights: from a workspace and options to a checkpoint, and back from it.

A model is a `Recipe`: its config, its class, its sizes and whatever it does in its own way. Everything else is the
same for all: options, tokenizer, stage 1 (MLM on the chat, shared by models whose context encoder has one shape),
stage 2 (teacher forcing on the answers, selected by the loss on dev alone), training.json, the card, loading.

    RECIPE = Recipe(config=LivebotConfig, model=LivebotModel, sizes=SIZES, defaults=DEFAULTS, about=about)
    train(context, RECIPE, name="livebot")
    commenter = load(context, RECIPE, name="livebot")
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import platform
import shutil
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError

from videochat import __version__
from videochat.commenter import LoadContext, lacking
from videochat.errors import MissingInput, UsageError
from videochat.files import damaged, digest_file, digest_json
from videochat.progress import say

from . import checkpoint, run_log
from .batches import Collator
from .card import model_card
from .commenter import LikelihoodCommenter
from .dev_ranking import MEASURES, DevRanking
from .examples import Example, ResponseBatches, dev_loss, examples_of
from .stage_one import pretrain_context
from .tokenizer import encoder_of, load_tokenizer, pretrained_tokenizer, train_tokenizer
from .training import StageResult, StageSettings, is_main_process, run_stage

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

    from videochat.dataset import Dataset

FORMAT = 1  # raise when the same settings would give another model
# by the data, or by a pretrained part
FIXED = {"self", "kwargs", "vocab_size", "clip_dim", "pad_token_id", "bos_token_id", "eos_token_id", "clip_text"}
TINY = "tiny"  # a size that every model has, for a try of the whole chain: what its config knows of these fields
TINY_FIELDS = {
    **{f"num_{part}layers": 1 for part in ("", "context_", "fusion_", "video_", "encoder_", "decoder_", "lstm_")},
    **{f"num_{part}layers": 1 for part in ("temporal_", "knowledge_", "cross_")},
    **{f"num_{part}heads": 2 for part in ("", "context_", "video_")},
    "width": 48,
    "video_width": 48,
    **{f"{part}feed_forward_width": 96 for part in ("", "context_", "video_")},
}
TINY_SETTINGS = {"vocab_size": 600, "epochs": 12, "batch_size": 32, "mlm_epochs": 1, "learning_rate": 4e-3}
SELECTIONS = ("loss", *MEASURES)
LATER = {"precision": "auto", "select": "loss", "tokenizer": ""}  # settings that came later, with their defaults
LOAD_OPTIONS = frozenset({"allow_other_data", "allow_seen_recordings"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What `videochat train` may be told besides the fields of a model's config.

    size: a name in the recipe's sizes. vocab_size: at most so many tokens. epochs ... max_minutes: of stage 2, see
    StageSettings; mlm_*: of stage 1; precision: of both. responses_per_clip, null_probability: see ResponseBatches.
    limit: at most so many clips of each split, for a try (0: all). select: what the best epoch, and `patience`, are
    judged by on dev: "loss", "mrr" or "r1" (see `dev_ranking`). tokenizer: a pretrained one, by name or folder,
    instead of one trained on the chat. log: "tensorboard" or "wandb" (see `run_log`); it changes nothing of the result.
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
    precision: str = "auto"
    select: str = "loss"
    tokenizer: str = ""
    log: str = ""

    def __post_init__(self) -> None:
        if self.select not in SELECTIONS:
            raise UsageError(f"select is {self.select!r}", fix=f"choose one of {', '.join(SELECTIONS)}")
        run_log.check(self.log)
        for name, least in (("vocab_size", 1), ("epochs", 1), ("responses_per_clip", 1), ("limit", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}", fix=f"make it {least} or more")
        if not 0 <= self.null_probability <= 1:
            raise UsageError(f"null_probability is {self.null_probability}", fix="make it between 0 and 1")
        _ = self.mlm, self.answers  # wrong ones raise before any work

    def told(self) -> dict[str, Any]:
        """The settings for digests and files: as `StageSettings.told`, and without what changes nothing."""
        return {name: value for name, value in vars(self).items() if name != "log" and LATER.get(name) != value}

    @property
    def mlm(self) -> StageSettings:
        """Stage 1."""
        return StageSettings(
            epochs=self.mlm_epochs,
            batch_size=self.mlm_batch_size,
            learning_rate=self.mlm_learning_rate,
            weight_decay=self.weight_decay,
            precision=self.precision,
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
            precision=self.precision,
        )


def trained_tokenizer(context: LoadContext, settings: TrainingSettings) -> PreTrainedTokenizerFast:
    """A byte-level BPE of the training split's chat, or the pretrained one that is named; emotes are whole tokens."""
    comments = context.dataset.comments("train")
    if settings.tokenizer:
        return pretrained_tokenizer(settings.tokenizer, comments)
    return train_tokenizer(comments, vocab_size=settings.vocab_size)


def plain_collator(config: Any, tokenizer: PreTrainedTokenizerFast, context: LoadContext) -> Collator:
    """Batches as `videochat.models.batches` describes them, cut to the lengths of the config."""
    return Collator(
        encode=encoder_of(tokenizer),
        needs=config.needs,
        clip_dim=config.clip_dim,
        max_context_comments=config.max_context_comments,
        max_comment_tokens=config.max_comment_tokens,
        max_response_tokens=config.max_response_tokens,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is made.

    config, model: a PretrainedConfig with `needs`, `clip_dim` and the three lengths that `plain_collator` reads, and
    the PreTrainedModel that it describes, which offers what `videochat.models.scoring.LikelihoodModel` asks for.
    sizes: name -> config fields; "sample" is taken on simulated data, "small" on real ones, and "tiny" need not be
    named here. defaults: size -> what else
    that size changes in TrainingSettings. about: (config, info) -> the paragraph of the card that says what this is.
    collator: (config, tokenizer, context) -> Collator. tokenizer: (context, settings) -> tokenizer.
    stage_one: (model, context, settings, tokenizer) -> log rows, having pretrained parts of the model; None: none.
    prepare: called on the new model, with the context, before stage 1 (weights by name, say).
    restore: (folder, context) -> the model as it was written; None: model.from_pretrained.
    bundled: a checkpoint that comes with the package, by model name.
    preset: config fields that make the recipe what it is, where neither size nor options say otherwise.
    facts: (model, dev examples, collator) -> what training.json and the card are to say besides, once it is trained.
    """

    config: Callable[..., Any]
    model: Any
    sizes: Mapping[str, dict[str, Any]]
    defaults: Mapping[str, dict[str, Any]]
    about: Callable[[Any, dict[str, Any]], str]
    collator: Callable[[Any, PreTrainedTokenizerFast, LoadContext], Collator] = plain_collator
    tokenizer: Callable[[LoadContext, TrainingSettings], PreTrainedTokenizerFast] = trained_tokenizer
    stage_one: Callable[..., list[dict[str, Any]]] | None = pretrain_context
    prepare: Callable[[Any, LoadContext], None] | None = None
    restore: Callable[[Path, LoadContext], Any] | None = None
    bundled: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    preset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    facts: Callable[[Any, list[Example], Collator], dict[str, Any]] | None = None

    @property
    def config_fields(self) -> dict[str, Any]:
        """Name -> default of the fields that a user may set."""
        parameters = inspect.signature(self.config.__init__).parameters
        fields = {name: p.default for name, p in parameters.items()} | getattr(self.config, "later", {})
        return {name: default for name, default in fields.items() if name not in FIXED}


def settings_of(
    recipe: Recipe, options: Mapping[str, Any], *, simulated: bool
) -> tuple[TrainingSettings, dict[str, Any]]:
    """Split options into training settings and config fields; texts are read as the type of the field's default."""
    size = str(options.get("size") or ("sample" if simulated else "small"))
    if size not in {**recipe.sizes, TINY: None}:
        raise UsageError(f"size is {size!r}", fix=f"choose one of {', '.join(dict.fromkeys([*recipe.sizes, TINY]))}")
    settings: dict[str, Any] = dict(recipe.defaults.get(size, TINY_SETTINGS if size == TINY else {}))
    config: dict[str, Any] = {}
    fields = {field.name: field.default for field in dataclasses.fields(TrainingSettings)}
    defaults = recipe.config_fields
    shape = recipe.sizes.get(size, {name: value for name, value in TINY_FIELDS.items() if name in defaults})
    for name, value in options.items():
        if name in LOAD_OPTIONS or name == "size":
            continue
        if name in fields:
            settings[name] = _as(type(fields[name]), name, value)
        elif name in defaults:
            config[name] = _as(type(defaults[name]), name, value)
        else:
            known = sorted({*fields, *defaults})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise UsageError(f"unknown training option {name!r}", fix=hint)
    return TrainingSettings(size=size, **settings), {**shape, **config}


def needs_of(recipe: Recipe, context: LoadContext, **variant: Any) -> frozenset[str]:
    """What a training with the context's options reads of a dataset. Raises UsageError for an unknown option."""
    options = {name: value for name, value in context.options.items() if name != "facts"}  # a file
    _, fields = settings_of(recipe, options, simulated=context.dataset.simulated)
    needs: frozenset[str] = recipe.config(**{**recipe.preset, **variant, **fields}).needs
    return needs


def _as(kind: type, name: str, value: Any) -> Any:
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "false": False}[value.casefold()]
        if kind is int and float(value) != int(float(value)):
            raise ValueError
        if (isinstance(value, bool) and kind is not bool) or value is None or isinstance(value, list | dict):
            raise ValueError  # JSON that is neither number nor word, though Python makes one of it: true is no 1
        return kind(value)
    except (KeyError, OverflowError, TypeError, ValueError):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]
        raise UsageError(f"{name} is {value!r}, not {words}", fix=f"write --set {name}= with {words}") from None


def train(context: LoadContext, recipe: Recipe, *, name: str, **variant: Any) -> None:
    """Train on the train split, select on dev, write `context.checkpoint`. Nothing to do if it is current.

    variant: config fields that make this name what it is, where the options do not say otherwise.
    """
    dataset = context.dataset
    settings, fields = settings_of(recipe, context.options, simulated=dataset.simulated)
    fields = {**recipe.preset, **variant, **fields}
    probe = recipe.config(**fields)
    if missing := probe.needs - dataset.provides:
        raise lacking(name, missing)
    words = Path(settings.tokenizer).expanduser() / "tokenizer.json"  # a folder's content may change under its name
    stamp = digest_json(
        {
            "format": FORMAT,
            "data": dataset.digest,
            "seed": context.seed,
            "settings": settings.told(),
            "config": fields,
            **({"tokenizer": digest_file(words)} if settings.tokenizer and words.is_file() else {}),
        }
    )
    if checkpoint.is_current(context.checkpoint, stamp):
        say(f"{name} is trained on these data already: {context.checkpoint}")
        return
    examples, dev = (_examples(dataset, split, settings, probe) for split in ("train", "dev"))
    if not examples:
        raise MissingInput("the train split holds no answers to learn from", fix="build more recordings")
    tokenizer = recipe.tokenizer(context, settings)
    if settings.tokenizer:
        fields |= {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")}
    config = recipe.config(vocab_size=len(tokenizer), clip_dim=dataset.dim or 1, **fields)
    collator = recipe.collator(config, tokenizer, context)
    torch.manual_seed(context.seed)
    model = recipe.model(config)
    if recipe.prepare is not None:
        recipe.prepare(model, context)
    state_path = context.checkpoint / "training" / "answers.safetensors"
    with run_log.opened(settings.log, context.checkpoint / "logs", name=name, settings=settings.told()):
        log = [] if recipe.stage_one is None else recipe.stage_one(model, context, settings, tokenizer)
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
            rank=DevRanking(dev, collator, measure=settings.select) if dev and settings.select in MEASURES else None,
            measure=settings.select,
        )
    if is_main_process():
        info = {
            **_origin(context, settings, result),
            "stamp": stamp,
            "model": name,
            "needs": sorted(probe.needs),
            "num_train_clips": len(examples),
            "num_dev_clips": len(dev),
            "num_parameters": sum(p.numel() for p in model.parameters()),
            **({} if recipe.facts is None else recipe.facts(model, dev, collator)),
        }
        card = model_card(info, config, class_name=recipe.model.__name__, about=recipe.about(config, info))
        checkpoint.write(context.checkpoint, model.cpu(), tokenizer, info, [*log, *result.log], card)
        shutil.rmtree(state_path.parent, ignore_errors=True)


def _examples(dataset: Dataset, split: str, settings: TrainingSettings, config: PretrainedConfig) -> list[Example]:
    clips = islice(dataset.clips(split), settings.limit or None)
    return examples_of(clips, max_context_comments=config.max_context_comments)


def _origin(context: LoadContext, settings: TrainingSettings, result: StageResult) -> dict[str, Any]:
    """What training.json says of the data, the settings and the machine."""
    dataset = context.dataset
    judged = f"dev_{settings.select}"
    ranked = [row[judged] for row in result.log if judged in row] if settings.select in MEASURES else []
    return {
        "format": checkpoint.FORMAT,
        "data_digest": dataset.digest,
        "simulated": dataset.simulated,
        "split_by": dataset.split_by,
        "clip_dim": dataset.dim,
        "clip_fingerprint": checkpoint.clip_fingerprint(dataset),
        "train_recordings": checkpoint.recordings_of(dataset, "train"),
        "seed": context.seed,
        "settings": settings.told(),
        "best_epoch": result.best_epoch,
        "dev_loss": min((row["dev_loss"] for row in result.log if row["dev_loss"] is not None), default=None),
        **({judged: max(ranked)} if ranked else {}),
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


def load(context: LoadContext, recipe: Recipe, *, name: str) -> LikelihoodCommenter:
    """The workspace's checkpoint of this model, or the bundled one where there is one and it fits."""
    folder, info = checkpoint.find(context, name, bundled=recipe.bundled.get(name))
    try:
        with checkpoint.quiet():
            if recipe.restore is not None:
                model = recipe.restore(folder, context)
            else:
                model = recipe.model.from_pretrained(folder, local_files_only=True)
        tokenizer = load_tokenizer(folder)
    except (OSError, RuntimeError, SafetensorError, TypeError, ValueError, LookupError) as error:
        raise damaged(folder, error, checkpoint.train_line(name, context)) from error
    collator = recipe.collator(model.config, tokenizer, context)
    return LikelihoodCommenter(
        name,
        model,
        tokenizer,
        collator,
        device=context.device,
        seed=info["seed"],
        checkpoint_digest=digest_file(folder / "model.safetensors"),
    )
