"""Causal language models of transformers by name or local folder: safetensors only, none of their own code is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from videochat.errors import MissingInput, UsageError
from videochat.files import digest_file, digest_json

from ..checkpoint import quiet

SAFE: dict[str, Any] = {"trust_remote_code": False}


def lacking(name: str, error: Exception) -> MissingInput:
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return MissingInput(
        f"the language model {name!r} cannot be loaded: {why}",
        fix="pass --set language_model=FOLDER with a causal language model in safetensors and its fast tokenizer, "
        "or the name of one on a hub that this machine reaches",
    )


def language_config(name: str) -> Any:
    """Its configuration. Raises MissingInput with what may be given instead."""
    try:
        return AutoConfig.from_pretrained(name, **SAFE)
    except (OSError, ValueError) as error:
        raise lacking(name, error) from error


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
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **SAFE)
    except (OSError, ValueError) as error:
        raise lacking(name, error) from error
    if not tokenizer.is_fast or tokenizer.eos_token_id is None:
        raise UsageError(f"{name!r} has no fast tokenizer with an end token", fix="take another language model")
    return tokenizer


def load_language_model(name: str, *, device: str) -> Any:
    """Frozen, in evaluation mode; bfloat16 where the device has it, else float32."""
    half = device != "cpu" and torch.cuda.is_bf16_supported()
    try:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                name, dtype=torch.bfloat16 if half else torch.float32, use_safetensors=True, **SAFE
            )
    except (OSError, ValueError) as error:
        raise lacking(name, error) from error
    return model.eval().requires_grad_(False)
