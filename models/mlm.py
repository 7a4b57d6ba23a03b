"""Stage 1: the context encoder learns chat by masked language modelling, once for all variants of a model.

Its result is kept in `checkpoints/mlm-<digest>/`, where the digest covers data, seed, settings and code format; a
variant whose stage 1 would be the same reads it from there. Masks fall on real tokens only: there is no padding
(the released code masks and counts it, FACTS §1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videochat.errors import Damaged
from videochat.files import atomic_path, digest_file, digest_json, read_json, write_json

from .batches import pad
from .encoder import MlmModel
from .tokenizer import MASK, SPECIAL
from .training import StageSettings, is_main_process, one_at_a_time, run_stage

MASK_PROBABILITY = 0.2  # of the tokens, always replaced by [MASK], as in the released code (FACTS §1)
IGNORED = -100
FORMAT = 1  # raise when the same settings would give another result


def mask_tokens(
    ids: Tensor,
    lengths: Tensor,
    random: np.random.Generator,
    *,
    probability: float = MASK_PROBABILITY,
    mask_id: int = MASK,
) -> tuple[Tensor, Tensor]:
    """Mask tokens of padded rows (U, L) -> (masked ids, labels), labels IGNORED where nothing was masked.

    Begin, end and padding are never chosen. At least one token of the whole batch is, if there is any.
    """
    place = np.arange(ids.shape[1])
    inner = (place > 0) & (place < lengths.numpy()[:, None] - 1) & (ids.numpy() >= len(SPECIAL))
    draws = random.random(inner.shape)
    chosen = inner & (draws < probability)
    if not chosen.any() and inner.any():
        chosen.flat[np.where(inner, draws, 2.0).argmin()] = True
    mask = torch.from_numpy(chosen)
    return ids.masked_fill(mask, mask_id), ids.masked_fill(~mask, IGNORED)


def pretrain(
    model: MlmModel,
    comments: Sequence[tuple[int, ...]],
    *,
    settings: StageSettings,
    seed: int,
    identity: dict[str, object],
    folder: Path,
    device: str = "cpu",
    mask_id: int = MASK,
) -> list[dict[str, object]]:
    """Train `model` on these comments (token ids with begin and end), or load what the same call gave before.

    identity: digests of data and tokenizer, and the shape of the encoder. mask_id: the tokenizer's [MASK].
    Returns the training log.
    """
    from safetensors.torch import save_file

    digest = digest_json({"format": FORMAT, "seed": seed, "settings": settings.told(), **identity})[:12]
    home = folder / f"mlm-{digest}"
    with one_at_a_time(home):
        if (known := _finished(model, home)) is not None:
            return known

        def batch(indices: np.ndarray, random: np.random.Generator) -> dict[str, Tensor]:
            ids, lengths = pad([comments[index] for index in indices])
            masked, labels = mask_tokens(ids, lengths, random, mask_id=mask_id)
            return {"ids": masked, "lengths": lengths, "labels": labels}

        result = run_stage(
            model,
            stage="mlm",
            num_items=len(comments),
            make_batch=batch,
            evaluate=None,
            settings=settings,
            seed=seed,
            state_path=home / "state.safetensors",
            device=device,
        )
        if not is_main_process():
            return result.log
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
        with atomic_path(home / "model.safetensors") as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
        info = {"identity": identity, "seed": seed, "settings": settings.told(), "log": result.log}
        write_json(home / "mlm.json", {**info, "sha256": digest_file(home / "model.safetensors")})
        (home / "state.safetensors").unlink(missing_ok=True)
        return result.log


def _finished(model: MlmModel, home: Path) -> list[dict[str, object]] | None:
    """Load what an earlier call gave and return its log; None if there is nothing whole."""
    from safetensors.torch import load_file

    try:
        info = read_json(home / "mlm.json", needs=("log", "sha256"))
        if digest_file(home / "model.safetensors") != info["sha256"]:
            return None
    except (OSError, Damaged):
        return None
    model.load_state_dict(load_file(home / "model.safetensors"))
    return list(info["log"])
