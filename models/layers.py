"""The parts every model here is made of: attention and feed-forward blocks, and sinusoidal positions.

Attention modules hold the projections only; how queries meet keys (packed, folded, cached) is the caller's
function, so that training, ranking and generation share one set of weights and one code path.

Legend: T tokens, W width, H heads, E width of a head (W = H * E), B clips, M memory vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .attention import dot_product_attention

NORMS = ("pre", "post")
# (query, key, value), each (..., H, E), to the attended values (..., H, E)
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class SelfAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, hidden: Tensor, attend: Attend) -> Tensor:
        query, key, value = self.qkv(hidden).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        return self.out(attend(query, key, value).flatten(-2))


class CrossAttention(nn.Module):
    """Attention to a memory whose keys and values are projected once, by `project`."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def project(self, memory_BMW: Tensor) -> Tensor:
        """-> keys and values (2, B, H, M, E)."""
        return self.kv(memory_BMW).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, hidden: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """attend: queries (..., H, E) to attended values of the same shape."""
        query = self.query(hidden).unflatten(-1, (self.num_heads, -1))
        return self.out(attend(query).flatten(-2))


class FeedForward(nn.Sequential):
    """dropout: between the two products, where the source has one there."""

    def __init__(
        self, width: int, hidden_width: int, activation: type[nn.Module] = nn.GELU, dropout: float | None = None
    ) -> None:
        between = [] if dropout is None else [nn.Dropout(dropout)]
        super().__init__(nn.Linear(width, hidden_width), activation(), *between, nn.Linear(hidden_width, width))


class Layer(nn.Module):
    """What is added to the hidden state, and where it is normalised: x + part(norm(x)) ("pre"), or norm(x + part(x))
    ("post"), as in BERT (Devlin et al. 2019) and torch's own transformer modules."""

    def __init__(self, norm: str, dropout: float) -> None:
        super().__init__()
        assert norm in NORMS, norm
        self.post_norm = norm == "post"
        self.dropout = nn.Dropout(dropout)

    def add(self, hidden: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        if self.post_norm:
            normalised: Tensor = norm(hidden + self.dropout(part(hidden)))
            return normalised
        return hidden + self.dropout(part(norm(hidden)))


class EncoderLayer(Layer):
    """Self-attention, then feed-forward. epsilon: of the layer norms."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden_width: int,
        dropout: float,
        *,
        norm: str = "pre",
        activation: type[nn.Module] = nn.GELU,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__(norm, dropout)
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.attention = SelfAttention(width, num_heads)
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = FeedForward(width, hidden_width, activation)

    def forward(self, hidden: Tensor, attend: Attend) -> Tensor:
        hidden = self.add(hidden, self.attention_norm, lambda state: self.attention(state, attend))
        return self.add(hidden, self.feed_forward_norm, self.feed_forward)


def final_norm(norm: str, width: int) -> nn.Module:
    """After the last layer of a stack: with "post" its states are normalised already."""
    return nn.LayerNorm(width) if norm == "pre" else nn.Identity()


def attend_masked(mask_BT: Tensor) -> Attend:
    """Attention of (B, T, H, E) among the tokens that the bool mask marks as real."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))
        return dot_product_attention(query, key, value, mask=mask_BT[:, None, None, :]).transpose(1, 2)

    return attend


def sinusoids(position: Tensor, width: int) -> Tensor:
    """Positions, any shape, to (..., width): sines and cosines as in Vaswani et al. 2017, §3.5.

    Computed where needed, once for each distinct position: a table kept in the module would not survive
    `from_pretrained` (FACTS §10).
    """
    distinct, place = position.unique(return_inverse=True)
    step = math.log(10_000) / (width // 2)
    rate = torch.exp(torch.arange(width // 2, device=position.device, dtype=torch.float32) * -step)
    angle = distinct.unsqueeze(-1).float() * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[place]


def initialise(module: nn.Module, width: int) -> None:
    """Initial weights by fan-in; embeddings with deviation width^-0.5, so that the tied output starts at unit scale.

    Uses `nn.init`, which transformers guards: weights that were just loaded stay as they are.
    """
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=width**-0.5)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
