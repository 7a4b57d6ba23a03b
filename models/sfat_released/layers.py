"""Post-norm layers, as in BERT (Devlin et al. 2019) and torch's transformer modules: x = norm(x + part(x)).

The same projections and attention functions as the rest of the models (`..layers`, `..packing`), so that packing,
folding and caching work unchanged. Dropout lies where the source has it, except on attention weights.

Legend: S packed tokens, T tokens, B clips, W width, U comments, L padded length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..attention import dot_product_attention
from ..decoder import Decoder, Memory
from ..layers import Attend, CrossAttention, SelfAttention
from ..packing import attend_within, pack

BERT_EPSILON = 1e-12  # of BERT's layer norms; torch's are 1e-5 (FACTS §1)


class PostNormLayer(nn.Module):
    """Self-attention and feed-forward, each added and then normalised."""

    def __init__(
        self, width: int, num_heads: int, hidden_width: int, dropout: float, *, activation: nn.Module, epsilon: float
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(width, num_heads)
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden_width), activation, nn.Linear(hidden_width, width))
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, attend: Attend) -> Tensor:
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, attend)))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))


class BertEmbedding(nn.Module):
    """Word + learned position + type 0, normalised; the context encoder and the decoder read the same one.

    `output`, from the decoder's states to logits, is a matrix of its own, not tied to the words.
    """

    def __init__(self, vocab_size: int, width: int, max_positions: int) -> None:
        super().__init__()
        self.word = nn.Embedding(vocab_size, width)
        self.position = nn.Embedding(max_positions, width)
        self.kind = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=BERT_EPSILON)
        self.output = nn.Linear(width, vocab_size)

    def embed(self, ids: Tensor, position: Tensor) -> Tensor:
        return self.norm(self.word(ids) + self.kind.weight[0] + self.position(position))

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., W) -> (..., vocabulary)."""
        return self.output(hidden)


class BertEncoder(nn.Module):
    """Comments (U, L) -> the last hidden state of their first token ([CLS]) (U, W), without pooler."""

    def __init__(self, *, width: int, num_heads: int, hidden_width: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            PostNormLayer(width, num_heads, hidden_width, dropout, activation=nn.GELU(), epsilon=BERT_EPSILON)
            for _ in range(num_layers)
        )

    def packed(self, embedding: BertEmbedding, ids_UL: Tensor, lengths_U: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> hidden (S, W) of the real tokens; for each its index in the flattened ids; the first of each comment."""
        packing = pack(lengths_U.tolist(), ids_UL.device)
        source_S = packing.source(ids_UL.shape[1])
        hidden = self.dropout(embedding.embed(ids_UL.flatten()[source_S], packing.position_S))
        for layer in self.layers:
            hidden = layer(hidden, lambda q, k, v: attend_within(q, k, v, packing, causal=False))
        return hidden, source_S, packing.first_U

    def comments(self, embedding: BertEmbedding, ids_UL: Tensor, lengths_U: Tensor) -> Tensor:
        hidden, _, first_U = self.packed(embedding, ids_UL, lengths_U)
        return hidden[first_U]


class PostNormDecoderLayer(nn.Module):
    """Self-attention, one cross-attention a memory, feed-forward (ReLU), each added and then normalised."""

    def __init__(self, width: int, num_heads: int, hidden_width: int, num_memories: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, num_heads)
        self.self_norm = nn.LayerNorm(width)
        self.cross_attentions = nn.ModuleList(CrossAttention(width, num_heads) for _ in range(num_memories))
        self.cross_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_memories))
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden_width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_width, width)
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        hidden: Tensor,
        attend: Attend,
        cross: Sequence[Callable[[Tensor], Tensor]],
        present: Sequence[Tensor | None] = (),
    ) -> Tensor:
        """As `DecoderLayer.forward`; none of its memories has a gate, so nothing is asked of `present`."""
        hidden = self.self_norm(hidden + self.dropout(self.self_attention(hidden, attend)))
        for norm, attention, attend_memory in zip(self.cross_norms, self.cross_attentions, cross, strict=True):
            hidden = norm(hidden + self.dropout(attention(hidden, attend_memory)))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))


class PostNormDecoder(Decoder):
    """`Decoder` with post-norm layers and no final norm; its embedding is a BertEmbedding."""

    def __init__(
        self, *, width: int, num_heads: int, hidden_width: int, num_layers: int, num_memories: int, dropout: float
    ) -> None:
        nn.Module.__init__(self)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            PostNormDecoderLayer(width, num_heads, hidden_width, num_memories, dropout) for _ in range(num_layers)
        )
        self.norm = nn.Identity()  # type: ignore[assignment]

    def padded(
        self, embedding: BertEmbedding, ids_BT: Tensor, allowed_TT: Tensor | None, memories: Sequence[Memory]
    ) -> Tensor:
        """(B, T, W) of padded rows, as the released code computes them.

        allowed_TT: bool, broadcastable to (B, 1, T, T): which key each query may see; None: every one.
        """
        hidden = self.dropout(embedding.embed(ids_BT, torch.arange(ids_BT.shape[1], device=ids_BT.device)))

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            query, key, value = (x.transpose(1, 2) for x in (query, key, value))
            return dot_product_attention(query, key, value, mask=allowed_TT).transpose(1, 2)

        for index, layer in enumerate(self.layers):
            cross = [lambda q, m=memory, i=index: m.attend(i, q.transpose(1, 2)).transpose(1, 2) for memory in memories]
            hidden = layer(hidden, attend, cross)
        return hidden
