"""Causal language models of transformers by name or local folder: safetensors only, none of their own code is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from videochat.errors import MissingInput, UsageError
from videochat.files import digest_file, digest_json
from videochat.frames.weights import no_waiting_for_the_hub

from ..checkpoint import quiet

SAFE: dict[str, Any] = {"trust_remote_code": False}


def fetched(name: str, read: Callable[[], Any]) -> Any:
    """What `read` makes of the language model's files. Raises MissingInput with what may be given instead."""
    with no_waiting_for_the_hub() as reachable:
        try:
            return read()
        except (OSError, ValueError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0][:200]
            if not reachable and not Path(name).is_dir():
                why = "the hub cannot be reached from here, and it is not in its cache"
            raise MissingInput(
                f"the language model {name!r} cannot be loaded: {why}",
                fix="pass --set language_model=FOLDER with a causal language model in safetensors and its fast "
                "tokenizer, or the name of one on a hub that this machine reaches",
            ) from error


def language_config(name: str) -> Any:
    """Its configuration."""
    return fetched(name, lambda: AutoConfig.from_pretrained(name, **SAFE))


def width_of(name: str) -> int:
    """The width of its hidden states, which the adapter must give."""
    return int(language_config(name).get_text_config().hidden_size)


def digest_of(name: str) -> str:
    """What tells its weights from others: the digest of a local folder's files, the revision of a hub's."""
    folder = Path(name)
    if not folder.is_dir():
        return str(getattr(language_config(name), "_commit_hash", None) or name)
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return digest_json({path.name: digest_file(path) for path in files if path.is_file()})


def load_tokenizer(name: str) -> Any:
    """Its tokenizer, which must be a fast one (of the tokenizers library) with an end token."""
    tokenizer = fetched(name, lambda: AutoTokenizer.from_pretrained(name, **SAFE))
    if not tokenizer.is_fast or tokenizer.eos_token_id is None:
        raise UsageError(f"{name!r} has no fast tokenizer with an end token", fix="take another language model")
    return tokenizer


def load_language_model(name: str, *, device: str) -> Any:
    """Frozen, in evaluation mode; bfloat16 where the device has it, else float32."""
    half = device != "cpu" and torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if half else torch.float32
    with quiet():
        model = fetched(
            name, lambda: AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=True, **SAFE)
        )
    return model.eval().requires_grad_(False)
