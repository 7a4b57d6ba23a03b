"""Sentence embeddings by any encoder that transformers loads: a local folder, or a name that it can fetch.

    vectors = encode("sentence-transformers/all-MiniLM-L6-v2", ["gg", "what a shot"])     # float16 (2, 384)

The last hidden states are averaged over a text's tokens and L2-normalised, as most sentence encoders do it ("mean
pooling"; Reimers and Gurevych, "Sentence-BERT", 2019). Safetensors only, and no code of the model's own is run. Texts
of one length share a batch, so nothing is padded, and a vector does not depend on what else is embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.errors import MissingInput
from videochat.files import digest_file
from videochat.progress import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_TOKENS = 128  # chat lines are far shorter; longer texts are cut
BATCH_TOKENS = 4096
FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


@lru_cache(maxsize=4)
def folder_of(name: str) -> Path:
    """The folder of an encoder: `name` itself, or where the hub's client keeps it. Raises MissingInput."""
    fix = 'give the folder of an encoder (config.json, model.safetensors and its tokenizer), or similarity = "tfidf"'
    path = Path(name)
    if not path.is_dir():
        if path.is_absolute() or name.startswith((".", "~")):
            raise MissingInput(f"no sentence encoder at {name}", fix=fix)
        from huggingface_hub import snapshot_download

        try:
            path = Path(snapshot_download(name, allow_patterns=list(FILES)))
        except (OSError, ValueError, RuntimeError) as error:  # no such name, no network, no right
            raise MissingInput(
                f"the sentence encoder {name!r} cannot be fetched: {type(error).__name__}", fix=fix
            ) from None
    if not (path / "config.json").is_file() or not list(path.glob("*.safetensors")):
        raise MissingInput(f"{path} holds no encoder with safetensors weights", fix=fix)
    return path


@lru_cache(maxsize=4)
def fingerprint(name: str) -> dict[str, Any]:
    """The encoder by its files: their digests, its name without the folders above it, and how it is used."""
    folder = folder_of(name)
    paths = sorted({path for pattern in FILES for path in folder.glob(pattern)})
    return {
        "encoder": Path(name).name if Path(name).is_dir() else name,
        "files": {path.name: digest_file(path) for path in paths},
        "pooling": "mean",
        "max_tokens": MAX_TOKENS,
    }


def encode(name: str, texts: Sequence[str]) -> NDArray[np.float16]:
    """float16 (len(texts), D), each row of length 1 (zero for a text without tokens)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = folder_of(name)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32).eval()
    ids = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS, padding=False)["input_ids"] if texts else []
    by_length: dict[int, list[int]] = {}
    for row, tokens in enumerate(ids):
        by_length.setdefault(len(tokens), []).append(row)
    found = np.zeros((len(texts), int(model.config.hidden_size)), dtype=np.float16)
    with torch.inference_mode(), progress(what="embed texts", total=len(texts), unit="text") as bar:
        for length, rows in sorted(by_length.items()):
            size = max(1, BATCH_TOKENS // max(1, length))
            for start in range(0, len(rows) if length else 0, size):
                batch = rows[start : start + size]
                tokens = torch.tensor([ids[row] for row in batch])
                states = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
                means = torch.nn.functional.normalize(states.mean(dim=1), dim=-1)
                found[batch] = means.numpy().astype(np.float16)
                bar.update(len(batch))
    return found
