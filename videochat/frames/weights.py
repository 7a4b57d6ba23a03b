"""Find and load open_clip weights, and refuse to go on without them.

Only safetensors are read from local folders: no pickle is ever loaded from disk. (open_clip loads published .pt files
of NAME:PRETRAINED with torch's weights_only unpickler.)
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import logging
import socket
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from ..errors import MissingInput, UsageError, VideochatError
from ..files import read_json

SAMPLE = "sample"
SAMPLE_FOLDER = Path(__file__).resolve().parents[1] / "sample" / "clip"
UNTRAINED = "untrained"
CONFIG = "open_clip_config.json"
CHOICES = "choose --clip sample, a local open_clip folder, or import precomputed features"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An open_clip model in float32 on the CPU, its tokenizer and its PreprocessCfg as a dict."""

    spec: str
    model: Any
    tokenizer: Any
    preprocess: dict[str, Any]
    trained: bool


def resolve_device(device: str) -> str:
    """ "auto" -> "cuda" if there is one, else "cpu". Raises UsageError for a device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise UsageError(f"unknown device {device!r}", fix="use --device auto, cpu or cuda")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise UsageError(f"no CUDA device for --device {device}", fix="use --device auto or --device cpu")
    return device


def tensors_digest(model: torch.nn.Module) -> str:
    """SHA-256, hex, over name, dtype, shape and bytes of every tensor of the model, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load(spec: str, *, allow_untrained: bool = False) -> Loaded:
    """See `clip_model.load_clip`."""
    if spec == SAMPLE:
        if not (SAMPLE_FOLDER / CONFIG).is_file():
            raise MissingInput(f"the sample CLIP is not at {SAMPLE_FOLDER}", fix="reinstall the package")
        return _load_folder(SAMPLE_FOLDER, SAMPLE, allow_untrained=allow_untrained)
    name, colon, tag = spec.partition(":")
    if name == UNTRAINED and colon:
        return _load_name(spec, tag, None)
    if Path(spec).is_dir():
        return _load_folder(Path(spec), Path(spec).resolve().name, allow_untrained=allow_untrained)
    check_spec(spec)
    return _load_name(spec, name, tag)


def check_spec(spec: str) -> None:
    """Raise what `load` raises for a spec that names no model, without loading one."""
    name, colon, tag = spec.partition(":")
    if spec == SAMPLE or Path(spec).is_dir():
        return
    if not colon or not tag:
        raise UsageError(
            f"{spec!r} is not a CLIP model: no such folder and no NAME:PRETRAINED",
            fix=f"write sample, a folder, NAME:PRETRAINED such as ViT-B-32:laion2b_s34b_b79k, or {UNTRAINED}:NAME",
        )
    _check_name(*((tag, None) if name == UNTRAINED else (name, tag)))


def _check_name(name: str, tag: str | None) -> None:
    import open_clip

    if name not in open_clip.list_models():
        near = difflib.get_close_matches(name, open_clip.list_models(), n=1)
        raise UsageError(f"open_clip knows no model {name!r}", fix=f"did you mean {near[0]}?" if near else CHOICES)
    if tag is not None and tag not in open_clip.list_pretrained_tags_by_model(name) and not Path(tag).is_file():
        known = open_clip.list_pretrained_tags_by_model(name)
        near = difflib.get_close_matches(tag, known, n=3, cutoff=0) or ["none"]
        raise UsageError(f"{name} has no pretrained weights {tag!r}", fix=f"nearest: {', '.join(near)}; or {CHOICES}")


def embedding_width(spec: str) -> int | None:
    """Width of a model's embeddings from its config alone; None if the spec names no known model."""
    folder = SAMPLE_FOLDER if spec == SAMPLE else Path(spec)
    if (folder / CONFIG).is_file():
        return int(read_json(folder / CONFIG)["model_cfg"]["embed_dim"])
    import open_clip

    name, _, tag = spec.partition(":")
    config = open_clip.get_model_config(tag if name == UNTRAINED else name)
    return int(config["embed_dim"]) if config else None


def _load_folder(folder: Path, spec: str, *, allow_untrained: bool) -> Loaded:
    if not (folder / CONFIG).is_file():
        raise MissingInput(f"{folder} has no {CONFIG}", fix="give a folder in open_clip's local-dir form")
    trained = any(folder.glob("*.safetensors"))
    if not trained and not allow_untrained:
        pickles = [*folder.glob("*.bin"), *folder.glob("*.pth"), *folder.glob("*.pt")]
        why = f"only {pickles[0].name}, a pickle" if pickles else "no weights"
        raise MissingInput(
            f"{folder} holds {why}: its CLIP would be untrained",
            fix="add open_clip_model.safetensors, or pass --allow-untrained to use random weights on purpose",
        )
    return _load_name(f"{spec}" if trained else f"{UNTRAINED}:{spec}", f"local-dir:{folder}", None, trained=trained)


def _load_name(spec: str, name: str, tag: str | None, *, trained: bool = False) -> Loaded:
    import open_clip

    local = name.startswith("local-dir:")
    if not local:
        _check_name(name, tag)
    must = trained or tag is not None
    with torch.random.fork_rng(devices=[]), _quiet(), no_waiting_for_the_hub() as reachable:
        torch.manual_seed(0)  # untrained weights are the same in every process
        try:
            model = open_clip.create_model(
                name, pretrained=tag, load_weights=must, require_pretrained=must, pretrained_text=False
            )
            tokenizer = _with_published_cleaning(open_clip.get_tokenizer(name))
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            where = "from the model hub" if not local else f"from {name.partition(':')[2]}"
            if not local and not reachable:
                first = "the hub cannot be reached from here, and the weights are not in its cache"
            raise VideochatError(f"CLIP {spec} could not be loaded {where}: {first}", fix=CHOICES) from error
    config = open_clip.get_model_preprocess_cfg(model)
    preprocess = dataclasses.asdict(open_clip.transform.PreprocessCfg(**config))
    return Loaded(spec=spec, model=model, tokenizer=tokenizer, preprocess=preprocess, trained=must)


def _with_published_cleaning(tokenizer: Any) -> Any:
    """Give open_clip's byte-level tokenizer the normalisation of CLIP's published tokenizer files.

    Those apply NFC, white space and lower case; open_clip puts ftfy's repairs before them, which drop control
    characters and rewrite fullwidth signs (22 of 25 reference vectors). On cleaned chat (NFKC) the two agree.
    """
    from open_clip import tokenizer as module

    if getattr(tokenizer, "clean_fn", None) is module._clean_lower:
        tokenizer.clean_fn = _published_cleaning
    return tokenizer


def _published_cleaning(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).lower()


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip and the hub client log what becomes one error here, or what was asked for (random weights)."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(previous)


@contextmanager
def no_waiting_for_the_hub() -> Iterator[bool]:
    """Where the hub's name does not resolve, look in its cache only, instead of 45 s of retries. Yields whether it can
    be asked."""
    from huggingface_hub import constants

    previous = constants.HF_HUB_OFFLINE
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        constants.HF_HUB_OFFLINE = True
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = previous
