"""The context encoder: a small BERT-like transformer over the tokens of each comment, and its MLM head.

One vector a comment, its first token's ([BOS]), as BERT's [CLS] (FACTS §1). Each distinct comment is encoded once.
Legend: S packed tokens, U comments, L padded length, W width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import EncoderLayer, initialise, sinusoids
from .packing import Packing, attend_within, pack


class TokenEmbedding(nn.Embedding):
    """Token vectors scaled to unit size plus sinusoidal positions; its weight is the output matrix as well."""

    def embed(self, ids: Tensor, position: Tensor) -> Tensor:
        return self(ids) * math.sqrt(self.embedding_dim) + sinusoids(position, self.embedding_dim)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., W) -> (..., vocabulary): the tied output."""
        return F.linear(hidden, self.weight)


class ContextEncoder(nn.Module):
    """Comments (U, L) -> vectors (U, W). It does not own the token embedding, which the decoder shares."""

    def __init__(self, *, width: int, num_heads: int, hidden_width: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(EncoderLayer(width, num_heads, hidden_width, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, embedding: TokenEmbedding, ids_S: Tensor, packing: Packing) -> Tensor:
        """-> (S, W), packed."""
        hidden = self.dropout(embedding.embed(ids_S, packing.position_S))
        for layer in self.layers:
            hidden = layer(hidden, lambda q, k, v: attend_within(q, k, v, packing, causal=False))
        return self.norm(hidden)

    def comments(self, embedding: TokenEmbedding, ids_UL: Tensor, lengths_U: Tensor) -> Tensor:
        """-> one vector a comment (U, W)."""
        packing = pack(lengths_U.tolist(), ids_UL.device)
        ids_S = ids_UL.flatten()[packing.source(ids_UL.shape[1])]
        return self(embedding, ids_S, packing)[packing.first_U]


class SummedLoss(NamedTuple):
    """loss: the sum over `num_tokens` tokens; divide by the count over all processes (FACTS §10)."""

    loss: Tensor
    num_tokens: Tensor


class MlmModel(nn.Module):
    """Stage 1: the context encoder with a masked-language-model head (transform, norm, tied output)."""

    def __init__(self, embedding: TokenEmbedding, encoder: ContextEncoder) -> None:
        super().__init__()
        width = embedding.embedding_dim
        self.embedding, self.encoder = embedding, encoder
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.transform.apply(lambda module: initialise(module, width))

    def forward(self, ids: Tensor, lengths: Tensor, labels: Tensor) -> SummedLoss:
        """ids (U, L) int64 with some tokens masked; labels (U, L): the true token where masked, else -100."""
        packing = pack(lengths.tolist(), ids.device)
        source = packing.source(ids.shape[1])
        labels_S = labels.flatten()[source]
        hidden = self.encoder(self.embedding, ids.flatten()[source], packing)
        masked = labels_S >= 0
        logits = self.embedding.logits(self.transform(hidden[masked]))
        return SummedLoss(F.cross_entropy(logits.float(), labels_S[masked], reduction="sum"), masked.sum())
