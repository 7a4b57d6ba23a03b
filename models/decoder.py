"""The comment decoder: causal self-attention, then cross-attention to each memory in turn, then feed-forward.

For SFAT the memories are the text and the video (FACTS §1); other models bring others. Keys and values of a memory
are projected once for each clip and layer and travel in `Memories`; three callers share one stack of layers:
`packed` (training and ranking: all candidates of a clip as one query axis, no padding), `step` (generation, with a
cache, and the plain padded forward), and both give the same numbers.

Legend: S packed tokens, B clips, T tokens, M memory vectors, N layers, H heads, E width of a head, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .attention import dot_product_attention
from .encoder import Embedding
from .gate import Gate
from .layers import Attend, CrossAttention, FeedForward, Layer, SelfAttention, final_norm
from .packing import Packing, attend_folded, attend_within, fold


@dataclass(frozen=True, eq=False)
class Memory:
    """Keys and values of one memory for all layers (B, N, 2, H, M, E) and which of its vectors are real (B, M).

    present: bool (B,), for a gated memory: where it is False nothing of the memory enters.
    """

    kv: Tensor
    mask: Tensor
    present: Tensor | None = None

    def attend(self, layer: int, query_BHTE: Tensor) -> Tensor:
        key, value = self.kv[:, layer, 0], self.kv[:, layer, 1]
        if key.shape[2] == 1:  # attention to a single vector is that vector
            return value.expand(-1, -1, query_BHTE.shape[2], -1)
        return dot_product_attention(query_BHTE, key, value, mask=self.mask[:, None, None, :])


class DecoderLayer(Layer):
    """norm: see `Layer`; "post" is torch's TransformerDecoderLayer: ReLU, and dropout inside the feed-forward, too.
    gates: number of a memory -> kind of the gate that what is read there goes through."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden_width: int,
        num_memories: int,
        dropout: float,
        gates: Mapping[int, str] | None = None,
        norm: str = "pre",
    ) -> None:
        super().__init__(norm, dropout)
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, num_heads)
        self.cross_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_memories))
        self.cross_attentions = nn.ModuleList(CrossAttention(width, num_heads) for _ in range(num_memories))
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = (
            FeedForward(width, hidden_width, nn.ReLU, dropout) if self.post_norm else FeedForward(width, hidden_width)
        )
        self.gates = nn.ModuleDict({str(index): Gate(width, kind) for index, kind in (gates or {}).items()})

    def forward(
        self,
        hidden: Tensor,
        attend: Attend,
        cross: Sequence[Callable[[Tensor], Tensor]],
        present: Sequence[Tensor | None] = (),
    ) -> Tensor:
        """cross: for each memory in order, queries (..., H, E) to attended values. present: for each gated memory,
        bool (..., 1)."""
        hidden = self.add(hidden, self.self_norm, lambda state: self.self_attention(state, attend))
        for index, norm in enumerate(self.cross_norms):

            def read(state: Tensor, index: int = index) -> Tensor:
                found: Tensor = self.cross_attentions[index](state, cross[index])
                if str(index) in self.gates:
                    return found * self.gates[str(index)](state, found, present[index])
                return found

            hidden = self.add(hidden, norm, read)
        return self.add(hidden, self.feed_forward_norm, self.feed_forward)


class Decoder(nn.Module):
    def __init__(
        self,
        *,
        width: int,
        num_heads: int,
        hidden_width: int,
        num_layers: int,
        num_memories: int,
        dropout: float,
        gates: Mapping[int, str] | None = None,
        norm: str = "pre",
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(width, num_heads, hidden_width, num_memories, dropout, gates, norm) for _ in range(num_layers)
        )
        self.norm = final_norm(norm, width)

    def project(self, index: int, memory_BMW: Tensor, mask_BM: Tensor) -> Memory:
        """Memory number `index`, its keys and values for every layer. At least one vector of each clip is real."""
        attentions: list[Any] = [layer.cross_attentions[index] for layer in self.layers]  # type: ignore[index]
        kv = [attention.project(memory_BMW) for attention in attentions]
        return Memory(torch.stack(kv).permute(2, 0, 1, 3, 4, 5), mask_BM)

    def packed(
        self,
        embedding: Embedding,
        ids_S: Tensor,
        packing: Packing,
        clip_S: Tensor,
        memories: Sequence[Memory],
        *,
        causal: bool = True,
    ) -> Tensor:
        """Packed sequences, each belonging to clip clip_S -> normalised states (S, W). causal: a token sees none after
        it, as in training and ranking; without, it sees its whole sequence (for pretraining on masked tokens)."""
        folding = fold(clip_S, memories[0].mask.shape[0])
        present = [None if memory.present is None else memory.present[clip_S][:, None] for memory in memories]
        hidden = self.dropout(embedding.embed(ids_S, packing.position_S))
        for index, layer in enumerate(self.layers):
            hidden = layer(
                hidden,
                lambda q, k, v: attend_within(q, k, v, packing, causal=causal),
                [
                    lambda q, m=memory, i=index: attend_folded(q, lambda x: m.attend(i, x), folding)
                    for memory in memories
                ],
                present,
            )
        return self.norm(hidden)

    def step(
        self,
        embedding: Embedding,
        ids_BT: Tensor,
        memories: Sequence[Memory],
        cache: Any = None,
        *,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """The next T tokens of each clip -> normalised states (B, T, W). cache: a transformers `Cache` of the tokens
        before them, or None. allowed: bool, broadcastable to (B, 1, T, T), which token each may see, where that is not
        every one up to itself."""
        past = cache.get_seq_length() if cache is not None else 0
        num_tokens = ids_BT.shape[1]
        position = torch.arange(past, past + num_tokens, device=ids_BT.device)
        hidden = self.dropout(embedding.embed(ids_BT, position))
        mask = allowed
        if allowed is None and num_tokens > 1:
            mask = position[:, None] >= torch.arange(past + num_tokens, device=ids_BT.device)
        for index, layer in enumerate(self.layers):

            def attend(query: Tensor, key: Tensor, value: Tensor, index: int = index) -> Tensor:
                query, key, value = (x.transpose(1, 2) for x in (query, key, value))
                if cache is not None:
                    key, value = cache.update(key, value, index)
                return dot_product_attention(query, key, value, mask=mask).transpose(1, 2)

            cross = [lambda q, m=memory, i=index: m.attend(i, q.transpose(1, 2)).transpose(1, 2) for memory in memories]
            present = [None if memory.present is None else memory.present[:, None, None] for memory in memories]
            hidden = layer(hidden, attend, cross, present)
        return self.norm(hidden)
