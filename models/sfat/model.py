"""SFAT: CLIP weighs the frames by the chat, a multimodal encoder joins them, a decoder reads chat, then video.

    frames (CLIP, frozen)  --weights by context-->  video token --+
    context comments  -->  context encoder  -->  comment vectors -+--> multimodal encoder --> decoder --> comment
    (transcript       -->  context encoder  -->  token vectors, read by the decoder last, through a gate: sfat-audio)
    (retrieved facts  -->  context encoder  -->  the same: sfat-knowledge)

Source: arXiv 2510.26978 as described in seed and FACTS §1; README.md lists where this differs from released code.
Batches are those of `videochat.models.batches`.

Legend: B clips, N frames, C context comments, D width of CLIP, W width, U distinct comments, M memory vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from ..answering import AnsweringModel
from ..decoder import Decoder, Memory
from ..encoder import ContextEncoder, SummedLoss, TokenEmbedding
from ..frame_pooling import attention_weights, frame_weights
from ..gate import Gate, recorded
from ..layers import EncoderLayer, attend_masked
from ..packing import pack
from .config import SfatConfig

TEXT, VIDEO = 0, 1  # rows of the kind embeddings
TRANSCRIPT, KNOWLEDGE = 2, 3  # the memories that are read last, through a gate; they have no rows of their own
STREAMS = {"transcript": TRANSCRIPT, "knowledge": KNOWLEDGE}  # field of the configuration -> memory


@dataclass
class SfatEncoding(ModelOutput):
    """A batch of clips, ready to be answered; every tensor has the batch first, so that generation can repeat it.

    last_hidden_state: all memory vectors (B, C + M, W), text first; frame_weights: (B, N), None without video.
    *_kv, *_mask: keys and values of the decoder's memories, see `videochat.models.decoder.Memory`.
    """

    last_hidden_state: Tensor | None = None
    frame_weights: Tensor | None = None
    text_kv: Tensor | None = None
    text_mask: Tensor | None = None
    video_kv: Tensor | None = None
    video_mask: Tensor | None = None
    transcript_kv: Tensor | None = None
    transcript_mask: Tensor | None = None  # all False for a clip in which nothing was said
    knowledge_kv: Tensor | None = None
    knowledge_mask: Tensor | None = None  # all False for a clip for which nothing was found


class SfatModel(AnsweringModel):
    config_class = SfatConfig
    base_model_prefix = "sfat"

    def __init__(self, config: SfatConfig) -> None:
        super().__init__(config)
        width, shape = config.width, (config.width, config.num_heads, config.feed_forward_width)
        common = {"width": width, "num_heads": config.num_heads, "hidden_width": config.feed_forward_width}
        self.embedding = TokenEmbedding(config.vocab_size, width)
        self.context_encoder = ContextEncoder(**common, num_layers=config.num_context_layers, dropout=config.dropout)
        if config.context_positions == "recency":
            self.recency = nn.Embedding(config.max_context_comments, width)  # row 0: the latest comment
        self.kind = nn.Embedding(2, width)
        self.absent = nn.Embedding(2, width)  # stands for an empty chat, an empty video
        if config.pooling != "none":
            self.video_projection = nn.Linear(config.clip_dim, width)
            self.video_norm = nn.LayerNorm(width)
            if config.pooling == "all":
                self.frame_age = nn.Embedding(config.max_frames, width)
            if config.pooling == "attention":
                self.frame_query, self.frame_key = nn.Linear(width, width), nn.Linear(width, width)
            if config.learn_temperature:
                self.log_temperature = nn.Embedding(1, 1)
        self.fusion = nn.ModuleList(EncoderLayer(*shape, config.dropout) for _ in range(config.num_fusion_layers))
        self.memory_norm = nn.LayerNorm(width)
        kinds = [TEXT] if config.pooling == "none" else [TEXT, VIDEO]
        self.memory_order = kinds if config.cross_attention_order == "text_video" else kinds[::-1]
        gates = {}
        if config.transcript != "off":
            self.transcript_norm = nn.LayerNorm(width)
            gates[len(self.memory_order)] = config.transcript
            self.memory_order = [*self.memory_order, TRANSCRIPT]
        if config.knowledge != "off":
            self.knowledge_norm = nn.LayerNorm(width)
            gates[len(self.memory_order)] = config.knowledge
            self.memory_order = [*self.memory_order, KNOWLEDGE]
        self.decoder = Decoder(
            **common,
            num_layers=config.num_decoder_layers,
            num_memories=len(self.memory_order),
            dropout=config.dropout,
            gates=gates,
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is getattr(self, "log_temperature", None):
            nn.init.constant_(module.weight, math.log(self.config.frame_temperature))

    # -- encoding a batch of clips

    def weigh_frames(self, batch: dict[str, Tensor]) -> Tensor:
        """The weights of the frames (B, N): from frozen CLIP features, or learned ("attention")."""
        config = self.config
        if config.pooling == "attention":
            return self._attend_frames(batch, *self._text_memory(batch))
        learned = config.learn_temperature and config.pooling != "none"
        return frame_weights(
            config.pooling,
            batch["frames"],
            batch["frame_mask"],
            batch.get("comment_clip"),
            batch["comment_mask"],
            temperature=self.log_temperature.weight.exp().squeeze() if learned else config.frame_temperature,
            weighting=config.weighting,
            aggregation=config.aggregation,
            focal_mask_BN=batch.get("focal_mask"),
        )

    def _attend_frames(self, batch: dict[str, Tensor], text_BCW: Tensor, text_mask_BC: Tensor) -> Tensor:
        real_BC = text_mask_BC.to(text_BCW.dtype)
        chat_BW = torch.einsum("bcw,bc->bw", text_BCW, real_BC) / real_BC.sum(1, keepdim=True).clamp(min=1)
        keys_BNW = self.frame_key(self._project(batch["frames"]))
        return attention_weights(self.frame_query(chat_BW), keys_BNW, batch["frame_mask"])

    def _project(self, video_BMD: Tensor) -> Tensor:
        """CLIP vectors in the model's width; unit vectors of D numbers are brought to unit size a number first, as the
        rest of the network is."""
        projected: Tensor = self.video_norm(self.video_projection(video_BMD * math.sqrt(self.config.clip_dim)))
        return projected

    def _text_memory(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        mask_BC = batch["comment_mask"]
        vectors_UW = self.context_encoder.comments(self.embedding, batch["comment_ids"], batch["comment_lengths"])
        comments_BCW = vectors_UW.index_select(0, batch["comment_index"].flatten()).unflatten(0, mask_BC.shape)
        if self.config.context_positions == "recency":
            age_BC = (mask_BC.sum(1, keepdim=True) - mask_BC.cumsum(1)).clamp(0, self.config.max_context_comments - 1)
            comments_BCW = comments_BCW + self.recency(age_BC)
        return self._or_absent(comments_BCW, mask_BC, TEXT)

    def _video_memory(self, batch: dict[str, Tensor], weights_BN: Tensor) -> tuple[Tensor, Tensor]:
        frames_BND, mask_BN = batch["frames"], batch["frame_mask"]
        if self.config.pooling == "all":
            video_BMD = frames_BND
        else:
            video_BMD, mask_BN = (
                torch.einsum("bnd,bn->bd", frames_BND, weights_BN)[:, None],
                mask_BN.any(1, keepdim=True),
            )
        video_BMW = self._project(video_BMD)
        if self.config.pooling == "all":
            video_BMW = video_BMW + self.frame_age(batch["frame_age"].clamp(0, self.config.max_frames - 1))
        return self._or_absent(video_BMW, mask_BN, VIDEO)

    def _token_memory(self, norm: nn.Module, ids_BL: Tensor, lengths_B: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The context encoder's vector of every token (B, L, W), and where there is one (B, L). lengths: 1 or more;
        mask (B, 1) or (B, L): where the tokens mean anything."""
        packing = pack(lengths_B.tolist(), ids_BL.device)
        source_S = packing.source(ids_BL.shape[1])
        hidden_SW = norm(self.context_encoder(self.embedding, ids_BL.flatten()[source_S], packing))
        flat = hidden_SW.new_zeros(ids_BL.numel(), hidden_SW.shape[1]).index_copy(0, source_S, hidden_SW)
        place_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
        return flat.unflatten(0, ids_BL.shape), (place_L < lengths_B[:, None]) & mask

    def _or_absent(self, memory_BMW: Tensor, mask_BM: Tensor, kind: int) -> tuple[Tensor, Tensor]:
        """Add the kind's vector; where nothing is real, the first place takes the vector that says so."""
        first = torch.arange(mask_BM.shape[1], device=mask_BM.device) == 0
        empty_BM = ~mask_BM.any(1, keepdim=True) & first
        memory_BMW = torch.where(empty_BM[..., None], self.absent.weight[kind], memory_BMW)
        return memory_BMW + self.kind.weight[kind], mask_BM | empty_BM

    def encode(self, batch: dict[str, Tensor]) -> SfatEncoding:
        """Encode each clip once and project the decoder's keys and values once."""
        text_BCW, text_mask = self._text_memory(batch)
        num_text = text_mask.shape[1]
        joined, mask, weights = text_BCW, text_mask, None
        if self.config.pooling != "none":
            learned = self.config.pooling == "attention"
            weights = self._attend_frames(batch, text_BCW, text_mask) if learned else self.weigh_frames(batch)
            video_BMW, video_mask = self._video_memory(batch, weights)
            joined, mask = torch.cat([text_BCW, video_BMW], 1), torch.cat([text_mask, video_mask], 1)
        for layer in self.fusion:
            joined = layer(joined, attend_masked(mask))
        joined = self.memory_norm(joined)
        parts = {TEXT: (joined[:, :num_text], mask[:, :num_text]), VIDEO: (joined[:, num_text:], mask[:, num_text:])}
        if TRANSCRIPT in self.memory_order:
            said = (batch["transcript_ids"], batch["transcript_lengths"], batch["transcript_mask"])
            parts[TRANSCRIPT] = self._token_memory(self.transcript_norm, *said)
        if KNOWLEDGE in self.memory_order:
            mask_BL = batch["knowledge_mask"]
            found = (batch["knowledge_ids"], mask_BL.sum(1).clamp(min=1), mask_BL)
            parts[KNOWLEDGE] = self._token_memory(self.knowledge_norm, *found)
        memories = {kind: self.decoder.project(i, *parts[kind]) for i, kind in enumerate(self.memory_order)}
        encoding = SfatEncoding(
            last_hidden_state=joined,
            frame_weights=weights,
            text_kv=memories[TEXT].kv,
            text_mask=memories[TEXT].mask,
        )
        if VIDEO in memories:
            encoding.video_kv, encoding.video_mask = memories[VIDEO].kv, memories[VIDEO].mask
        if TRANSCRIPT in memories:
            encoding.transcript_kv, encoding.transcript_mask = memories[TRANSCRIPT].kv, memories[TRANSCRIPT].mask
        if KNOWLEDGE in memories:
            encoding.knowledge_kv, encoding.knowledge_mask = memories[KNOWLEDGE].kv, memories[KNOWLEDGE].mask
        return encoding

    def memories(self, encoding: SfatEncoding) -> list[Memory]:
        found: dict[int, Any] = {
            TEXT: (encoding.text_kv, encoding.text_mask),
            VIDEO: (encoding.video_kv, encoding.video_mask),
        }
        for kind, kv, mask in (
            (TRANSCRIPT, encoding.transcript_kv, encoding.transcript_mask),
            (KNOWLEDGE, encoding.knowledge_kv, encoding.knowledge_mask),
        ):
            if kind in self.memory_order:
                assert mask is not None
                present_B = mask.any(1)
                found[kind] = (kv, mask | ~present_B[:, None], present_B)  # a softmax over nothing is no number
        return [Memory(*found[kind]) for kind in self.memory_order]

    # -- the gates before the transcript and the knowledge

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As `AnsweringModel.forward`; in training an open gate costs `gate_cost` a token."""
        gates = self._gates()
        if not (self.training and gates and self.config.gate_cost and kwargs.get("response_ids") is not None):
            return super().forward(*args, **kwargs)
        with recorded(gates) as found:
            loss, num_tokens = super().forward(*args, **kwargs)
        return SummedLoss(loss + self.config.gate_cost * torch.cat(found, -1).mean(-1).sum(), num_tokens)

    @property
    def has_gate(self) -> bool:
        return bool(self._gates())

    def _gates(self, stream: str = "") -> list[Gate]:
        """Of all streams, or of the one that is named: "transcript" or "knowledge"."""
        if not stream:
            return [module for module in self.decoder.modules() if isinstance(module, Gate)]
        if STREAMS[stream] not in self.memory_order:
            return []
        place = str(self.memory_order.index(STREAMS[stream]))
        layers: list[Any] = list(self.decoder.layers)
        return [layer.gates[place] for layer in layers]

    def gate_means(
        self,
        batch: dict[str, Tensor],
        response_ids: Tensor,
        response_lengths: Tensor,
        response_clip: Tensor,
        *,
        stream: str = "",
    ) -> Tensor:
        """For each clip (B,) how far its gate is open, in [0, 1]: the mean over layers and tokens of its responses
        (see `token_log_probs`) and, where none is named, over its streams; 0 where a stream holds nothing, NaN where a
        clip has no response. Without gradients."""
        with torch.no_grad(), recorded(self._gates(stream)) as found:
            encoding = self.encode(batch)
            _, response_S = self.token_log_probs(encoding, response_ids, response_lengths, response_clip)
        assert found, "the model has a gate"
        clip_S = response_clip[response_S]
        total_B = torch.zeros(len(batch["comment_mask"]), dtype=torch.float64, device=clip_S.device)
        values_S = torch.cat(found, -1).double().mean(-1)
        return total_B.index_add(0, clip_S, values_S) / torch.bincount(clip_S, minlength=len(total_B))
