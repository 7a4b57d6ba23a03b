"""Token embeddings, the context encoder (a BERT-like transformer over the tokens of each comment), and its MLM heads.

One vector a comment, its first token's ([BOS]), as BERT's [CLS] (FACTS §1). Each distinct comment is encoded once.
Legend: S packed tokens, U comments, L padded length, W width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import EncoderLayer, final_norm, initialise, sinusoids
from .packing import Packing, attend_within, pack

BERT_EPSILON = 1e-12  # of BERT's layer norms; torch's are 1e-5 (FACTS §1)


class TokenEmbedding(nn.Embedding):
    """Token vectors scaled to unit size plus sinusoidal positions; its weight is the output matrix as well."""

    def embed(self, ids: Tensor, position: Tensor) -> Tensor:
        return self(ids) * math.sqrt(self.embedding_dim) + sinusoids(position, self.embedding_dim)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., W) -> (..., vocabulary): the tied output."""
        return F.linear(hidden, self.weight)


class BertEmbedding(nn.Module):
    """Word + learned position + type 0, normalised, as BERT's; its `output`, from states to logits, is a matrix of its
    own."""

    def __init__(self, vocab_size: int, width: int, max_positions: int) -> None:
        super().__init__()
        self.word = nn.Embedding(vocab_size, width)
        self.position = nn.Embedding(max_positions, width)
        self.kind = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=BERT_EPSILON)
        self.output = nn.Linear(width, vocab_size)

    def embed(self, ids: Tensor, position: Tensor) -> Tensor:
        embedded: Tensor = self.norm(self.word(ids) + self.kind.weight[0] + self.position(position))
        return embedded

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., W) -> (..., vocabulary)."""
        logits: Tensor = self.output(hidden)
        return logits


Embedding = TokenEmbedding | BertEmbedding


class ContextEncoder(nn.Module):
    """Comments (U, L) -> vectors (U, W). It does not own the token embedding, which the decoder shares.

    norm: see `videochat.models.layers.Layer`; "post" is BERT without its pooler.
    """

    def __init__(
        self, *, width: int, num_heads: int, hidden_width: int, num_layers: int, dropout: float, norm: str = "pre"
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        epsilon = BERT_EPSILON if norm == "post" else 1e-5
        self.layers = nn.ModuleList(
            EncoderLayer(width, num_heads, hidden_width, dropout, norm=norm, epsilon=epsilon) for _ in range(num_layers)
        )
        self.norm = final_norm(norm, width)

    def forward(self, embedding: Embedding, ids_S: Tensor, packing: Packing) -> Tensor:
        """-> (S, W), packed."""
        hidden = self.dropout(embedding.embed(ids_S, packing.position_S))
        for layer in self.layers:
            hidden = layer(hidden, lambda q, k, v: attend_within(q, k, v, packing, causal=False))
        normalised: Tensor = self.norm(hidden)
        return normalised

    def comments(self, embedding: Embedding, ids_UL: Tensor, lengths_U: Tensor) -> Tensor:
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

    embedding: Embedding

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
        logits = self.predict(hidden[masked])
        return SummedLoss(F.cross_entropy(logits.float(), labels_S[masked], reduction="sum"), masked.sum())

    def predict(self, hidden: Tensor) -> Tensor:
        """(..., W) -> logits (..., vocabulary)."""
        return self.embedding.logits(self.transform(hidden))


class BertMlm(MlmModel):
    """Stage 1 as in SFAT's released code (FACTS §1): a linear head of its own on BERT's last hidden state."""

    def __init__(self, embedding: BertEmbedding, encoder: ContextEncoder) -> None:
        nn.Module.__init__(self)
        self.embedding, self.encoder = embedding, encoder
        self.embedding.output.requires_grad_(False)
        self.head = nn.Linear(embedding.word.embedding_dim, embedding.word.num_embeddings)

    def predict(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.head(hidden)
        return logits
