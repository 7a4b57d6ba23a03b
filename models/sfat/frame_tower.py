"""Frames and comments in one learned space, as the released SFAT has them (FACTS §1): `weighting="learned"`.

    frames (CLIP) -> Linear, sinusoids, post-norm layers --+-- one shared Linear, L2
    comments (CLIP text) ----------------------------------+

Legend: B clips, N frames, C context comments, D width of CLIP, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import EncoderLayer, attend_masked


class FrameTower(nn.Module):
    def __init__(
        self, *, clip_dim: int, width: int, num_heads: int, hidden_width: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.frame_projection = nn.Linear(clip_dim, clip_dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(clip_dim, num_heads, hidden_width, dropout, norm="post", activation=nn.ReLU)
            for _ in range(num_layers)
        )
        self.shared_projection = nn.Linear(clip_dim, width)

    def frames(self, frames_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """-> unit vectors (B, N, W); those of absent frames mean nothing."""
        hidden = self.dropout(self.frame_projection(frames_BND))
        hidden = hidden + interleaved_sinusoids(hidden.shape[1], hidden.shape[2], hidden.device).to(hidden.dtype)
        anything_BN = mask_BN | ~mask_BN.any(1, keepdim=True)  # attention over nothing is not a number
        for layer in self.layers:
            hidden = layer(hidden, attend_masked(anything_BN))
        return F.normalize(self.shared_projection(hidden), dim=-1)

    def comments(self, comments_BCD: Tensor) -> Tensor:
        """-> unit vectors (B, C, W)."""
        return F.normalize(self.shared_projection(comments_BCD), dim=-1)


def interleaved_sinusoids(num_positions: int, width: int, device: torch.device) -> Tensor:
    """(num_positions, width): sines at even, cosines at odd places (Vaswani et al. 2017, §3.5).

    Computed when needed: a table kept in the module would not survive `from_pretrained` (FACTS §10).
    """
    rate = 10_000.0 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angle = torch.arange(num_positions, device=device, dtype=torch.float32)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
