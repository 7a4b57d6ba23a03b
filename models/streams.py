"""Small steps that several models take from a batch of clips to a memory of their decoder.

Legend: B clips, N frames, M memory vectors, W width, D width of CLIP.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def latest(rows_BND: Tensor, mask_BN: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The last `count` real rows of each clip, in their order, on the left -> (B, count, D), mask (B, count).

    Real rows stand on the left already. Places without a row hold zeros.
    """
    real_B1 = mask_BN.sum(1, keepdim=True)
    place_BK = (real_B1 - count).clamp(min=0) + torch.arange(count, device=mask_BN.device)
    kept_BK = place_BK < real_B1
    index = place_BK.clamp(max=rows_BND.shape[1] - 1)[..., None].expand(-1, -1, rows_BND.shape[2])
    return rows_BND.gather(1, index) * kept_BK[..., None], kept_BK


def latest_frames(batch: dict[str, Tensor], count: int, clip_dim: int) -> tuple[Tensor, Tensor]:
    """The latest `count` frames of each clip -> (B, count, D), mask (B, count); none for a batch without frames."""
    if "frames" in batch:
        return latest(batch["frames"], batch["frame_mask"], count)
    chat_BC = batch["comment_mask"]
    mask_BN = torch.zeros(len(chat_BC), count, dtype=torch.bool, device=chat_BC.device)
    return torch.zeros(*mask_BN.shape, clip_dim, device=chat_BC.device), mask_BN


def unit_scale(frames_BND: Tensor) -> Tensor:
    """Unit vectors of D numbers brought to unit size a number, as the rest of a network is."""
    return frames_BND * math.sqrt(frames_BND.shape[-1])


def or_absent(memory_BMW: Tensor, mask_BM: Tensor, absent_W: Tensor) -> tuple[Tensor, Tensor]:
    """Where a clip has nothing real, its first place takes the vector that says so and counts as real."""
    first_M = torch.arange(mask_BM.shape[1], device=mask_BM.device) == 0
    empty_BM = ~mask_BM.any(1, keepdim=True) & first_M
    return torch.where(empty_BM[..., None], absent_W.to(memory_BMW.dtype), memory_BMW), mask_BM | empty_BM
