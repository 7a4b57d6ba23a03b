"""KLVCG-style: frames, slots of chat and retrieved knowledge meet in a cross encoder, whose output a decoder reads.

    11 frames (CLIP), 3 s apart ------------> 2 layers ----------------------------> 11 tokens --+
    10 slots of chat -> encoder -> [first] -> 2 layers over slots ------+----------> 10 tokens --+-> cross encoder (2)
    knowledge, 80 tokens -> 1 layer ----------- queried by the slots ---+----------> 10 tokens --+        |
                                                                         summary     1 token  ---+     decoder (1)

Source: arXiv 2304.14657 and FACTS §4; README.md lists what differs. Batches are those of `videochat.models.batches`
with what `videochat.models.klvcg.batches` adds.

Legend: B clips, N frames, S slots, K knowledge tokens, W width, M memory vectors.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..answering import AnsweringModel, Encoding
from ..attention import dot_product_attention
from ..decoder import Decoder
from ..encoder import ContextEncoder, TokenEmbedding
from ..frame_pooling import uniform_weights
from ..layers import CrossAttention, EncoderLayer, attend_masked
from .config import KlvcgConfig

VIDEO, CHAT, KNOWLEDGE, SUMMARY = range(4)  # rows of the kind embeddings


class Layers(nn.Module):
    """Encoder layers among the real tokens of (B, T, W), with a norm after the last."""

    def __init__(self, config: KlvcgConfig, num_layers: int) -> None:
        super().__init__()
        shape = (config.width, config.num_heads, config.feed_forward_width, config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(*shape) for _ in range(num_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden, attend_masked(mask))
        out: Tensor = self.norm(hidden)
        return out


class KlvcgModel(AnsweringModel):
    config_class = KlvcgConfig
    base_model_prefix = "klvcg"

    def __init__(self, config: KlvcgConfig) -> None:
        super().__init__(config)
        width = config.width
        common: dict[str, Any] = {
            "width": width,
            "num_heads": config.num_heads,
            "hidden_width": config.feed_forward_width,
        }
        self.embedding = TokenEmbedding(config.vocab_size, width)
        self.context_encoder = ContextEncoder(**common, num_layers=config.num_context_layers, dropout=config.dropout)
        self.slot_place = nn.Embedding(config.num_slots, width)
        self.temporal = Layers(config, config.num_temporal_layers)
        self.knowledge = Layers(config, config.num_knowledge_layers)
        self.knowledge_query = CrossAttention(width, config.num_heads)
        self.kind = nn.Embedding(4, width)
        self.absent = nn.Embedding(3, width)  # stands for no frame, an empty chat, no knowledge
        if config.use_video:
            self.video_projection = nn.Linear(config.clip_dim, width)
            self.video_norm = nn.LayerNorm(width)
            self.frame_place = nn.Embedding(config.max_frames, width)
            self.video = Layers(config, config.num_video_layers)
        self.cross = Layers(config, config.num_cross_layers)
        self.decoder = Decoder(**common, num_layers=config.num_decoder_layers, num_memories=1, dropout=config.dropout)
        self.post_init()

    def _frame_mask(self, batch: dict[str, Tensor]) -> Tensor:
        step, age_BN = self.config.frame_step_s, batch["frame_age"]
        return batch["frame_mask"] & (age_BN % step == 0) & (age_BN < self.config.max_frames * step)

    def weigh_frames(self, batch: dict[str, Tensor]) -> Tensor:
        """The frames that are read, all alike (B, N): the model has no weights of its own."""
        return uniform_weights(self._frame_mask(batch))

    def _frames(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        mask = self._frame_mask(batch)
        read = mask.any(0)  # the places that some clip of the batch reads; the others cost nothing
        read[:1] |= ~read.any()
        mask, frames_BND, age_BN = mask[:, read], batch["frames"][:, read], batch["frame_age"][:, read]
        # unit vectors of D numbers are brought to unit size a number, as the rest of the network is
        video_BNW = self.video_norm(self.video_projection(frames_BND * math.sqrt(self.config.clip_dim)))
        place_BN = (age_BN // self.config.frame_step_s).clamp(0, self.config.max_frames - 1)
        video_BNW, mask = self._or_absent(video_BNW + self.frame_place(place_BN), mask, VIDEO)
        return self.video(video_BNW, mask), mask

    def _chat(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        vectors_UW = self.context_encoder.comments(self.embedding, batch["slot_ids"], batch["slot_lengths"])
        slots_BSW = vectors_UW.index_select(0, batch["slot_index"].flatten()).unflatten(0, batch["slot_mask"].shape)
        slots_BSW, mask = self._or_absent(slots_BSW + self.slot_place.weight, batch["slot_mask"], CHAT)
        return self.temporal(slots_BSW, mask), mask

    def _known(self, batch: dict[str, Tensor], slots_BSW: Tensor) -> Tensor:
        """What each slot of the chat finds in the knowledge (B, S, W)."""
        ids_BK, mask_BK = batch["knowledge_ids"], batch["knowledge_mask"]
        hidden = self.embedding.embed(ids_BK, torch.arange(ids_BK.shape[1], device=ids_BK.device))
        hidden, mask = self._or_absent(hidden, mask_BK, KNOWLEDGE)
        key, value = self.knowledge_query.project(self.knowledge(hidden, mask))

        def attend(query_BSHE: Tensor) -> Tensor:
            query = query_BSHE.transpose(1, 2)
            return dot_product_attention(query, key, value, mask=mask[:, None, None, :]).transpose(1, 2)

        found: Tensor = self.knowledge_query(slots_BSW, attend)
        return found

    def _or_absent(self, hidden_BTW: Tensor, mask_BT: Tensor, kind: int) -> tuple[Tensor, Tensor]:
        """Where nothing is real, the first place takes the vector that says so."""
        first = torch.arange(mask_BT.shape[1], device=mask_BT.device) == 0
        empty_BT = ~mask_BT.any(1, keepdim=True) & first
        return torch.where(empty_BT[..., None], self.absent.weight[kind], hidden_BTW), mask_BT | empty_BT

    def encode(self, batch: dict[str, Tensor]) -> Encoding:
        slots_BSW, slot_mask = self._chat(batch)
        parts = [
            (self.kind.weight[SUMMARY].expand(len(slots_BSW), 1, -1), torch.ones_like(slot_mask[:, :1])),
            (slots_BSW + self.kind.weight[CHAT], slot_mask),
            (self._known(batch, slots_BSW) + self.kind.weight[KNOWLEDGE], slot_mask),
        ]
        if self.config.use_video:
            video_BNW, frame_mask = self._frames(batch)
            parts.append((video_BNW + self.kind.weight[VIDEO], frame_mask))
        hidden, mask = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
        return self.encoding([(self.cross(hidden, mask), mask)])
