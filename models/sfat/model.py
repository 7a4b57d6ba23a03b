"""SFAT: the chat weighs the frames, a multimodal encoder joins them, a decoder reads chat, then video.

    frames (CLIP)     --weights by context-->  video token --+
    context comments  -->  context encoder  -->  comment vectors -+--> multimodal encoder --> decoder --> comment
    (transcript       -->  context encoder  -->  token vectors, read by the decoder last, through a gate: sfat-audio)
    (retrieved facts  -->  context encoder  -->  the same: sfat-knowledge)

One implementation, whose switches (`config.py`) give the model of the description (arXiv 2510.26978: `sfat`, README.md)
and that of the authors' released code (FACTS §1: `sfat-released`, tensor for tensor, RELEASED.md), and what lies
between. Batches are those of `videochat.models.batches`, and for a text tower inside the model clip_ids int64 (V, L)
and clip_index (B, C) as `clip_tokens.add_clip_tokens` makes them.

Legend: B clips, N frames, C context comments, D width of CLIP, W width, X either of them, U distinct comments, M memory
vectors, T tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from ..decoder import Decoder, Memory
from ..encoder import BertEmbedding, ContextEncoder, SummedLoss, TokenEmbedding
from ..frame_pooling import attention_weights, frame_weights, weights_of_each
from ..layers import EncoderLayer, attend_masked, final_norm
from ..packing import pack
from .config import SfatConfig
from .frame_tower import FrameTower
from .gated import KNOWLEDGE, STREAMS, TRANSCRIPT, GatedModel

TEXT, VIDEO = 0, 1  # rows of the kind embeddings; the gated memories have none
NAMES = {TEXT: "text", VIDEO: "video", **{kind: name for name, kind in STREAMS.items()}}


@dataclass
class SfatEncoding(ModelOutput):
    """A batch of clips, ready to be answered; every tensor has the batch first, so that generation can repeat it.

    last_hidden_state: all memory vectors (B, C + M, W), text first; frame_weights: (B, N), None without video;
    comment_frame_weights: (B, N, C), where each comment has weights of its own; *_kv, *_mask: keys and values of the
    decoder's memories, see `videochat.models.decoder.Memory`.
    """

    last_hidden_state: Tensor | None = None
    frame_weights: Tensor | None = None
    comment_frame_weights: Tensor | None = None
    text_kv: Tensor | None = None
    text_mask: Tensor | None = None
    video_kv: Tensor | None = None
    video_mask: Tensor | None = None
    transcript_kv: Tensor | None = None
    transcript_mask: Tensor | None = None  # all False for a clip in which nothing was said
    knowledge_kv: Tensor | None = None
    knowledge_mask: Tensor | None = None  # all False for a clip for which nothing was found


class SfatModel(GatedModel):
    config_class = SfatConfig
    base_model_prefix = "sfat"

    def __init__(self, config: SfatConfig) -> None:
        super().__init__(config)
        width, norm = config.width, config.norm
        if norm == "post":
            self.embedding = BertEmbedding(config.vocab_size, width, config.max_positions)
        else:
            self.embedding = TokenEmbedding(config.vocab_size, width)
        self.context_encoder = ContextEncoder(
            width=width,
            num_heads=config.num_context_heads or config.num_heads,
            hidden_width=config.context_feed_forward_width or config.feed_forward_width,
            num_layers=config.num_context_layers,
            dropout=config.dropout,
            norm=norm,
        )
        if config.context_positions == "recency":
            self.recency = nn.Embedding(config.max_context_comments, width)  # row 0: the latest comment
        if config.memory_marks:
            self.kind = nn.Embedding(2, width)
            self.absent = nn.Embedding(2, width)  # stands for an empty chat, an empty video
        if config.pooling != "none":
            self._add_video()
        shape = (width, config.num_heads, config.feed_forward_width, config.dropout)
        self.fusion = nn.ModuleList(EncoderLayer(*shape, norm=norm) for _ in range(config.num_fusion_layers))
        self.memory_norm = final_norm(norm, width)
        gates = self._order_memories()
        self.decoder = Decoder(
            width=width,
            num_heads=config.num_heads,
            hidden_width=config.feed_forward_width,
            num_layers=config.num_decoder_layers,
            num_memories=len(self.memory_order),
            dropout=config.dropout,
            gates=gates,
            norm=norm,
        )
        self.post_init()

    def _add_video(self) -> None:
        config, width = self.config, self.config.width
        if config.weighting == "learned":
            self.tower = FrameTower(
                clip_dim=config.clip_dim,
                width=width,
                num_heads=config.num_video_heads,
                hidden_width=config.video_feed_forward_width,
                num_layers=config.num_video_layers,
                dropout=config.dropout,
            )
        else:
            self.video_projection = nn.Linear(config.clip_dim, width)
            self.video_norm = nn.LayerNorm(width)
        if config.pooling == "all":
            self.frame_age = nn.Embedding(config.max_frames, width)
        if config.pooling == "attention":
            self.frame_query, self.frame_key = nn.Linear(width, width), nn.Linear(width, width)
        if config.learn_temperature:
            self.log_temperature = nn.Embedding(1, 1)
        if config.text_tower != "stored" and config.weighs_by_chat:
            from transformers import CLIPTextConfig, CLIPTextModelWithProjection

            self.text_tower = CLIPTextModelWithProjection(CLIPTextConfig(**(config.clip_text or {})))
            self.text_tower.requires_grad_(config.text_tower == "tuned")

    def _order_memories(self) -> dict[int, str]:
        """Set the order in which the decoder reads its memories; returns the kinds of the gates by place."""
        config, gates = self.config, {}
        kinds = [TEXT] if config.pooling == "none" else [TEXT, VIDEO]
        self.memory_order = kinds if config.cross_attention_order == "text_video" else kinds[::-1]
        for name, kind in STREAMS.items():
            if getattr(config, name) != "off":
                setattr(self, f"{name}_norm", nn.LayerNorm(config.width))
                gates[len(self.memory_order)] = getattr(config, name)
                self.memory_order = [*self.memory_order, kind]
        return gates

    def _init_weights(self, module: nn.Module) -> None:
        if self.config.norm == "pre":
            super()._init_weights(module)
        elif isinstance(module, nn.Linear):  # as torch and BERT start: uniform by fan-in, embeddings at deviation 0.02
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if module is getattr(self, "log_temperature", None):
            nn.init.constant_(module.weight, math.log(self.config.frame_temperature))

    # -- which frames count

    def text_features(self, batch: dict[str, Tensor]) -> Tensor:
        """CLIP's text features of the comments (B, C, D), not normalised where the tower runs here."""
        if self.config.text_tower == "stored":
            return batch["comment_clip"] * self.config.text_norm
        index_BC = batch["clip_index"]
        features_VD = self.text_tower(input_ids=batch["clip_ids"]).text_embeds
        return features_VD.index_select(0, index_BC.flatten()).unflatten(0, index_BC.shape)

    def frame_mask(self, batch: dict[str, Tensor]) -> Tensor:
        """Which frames are read (B, N): the real ones, no older than `max_frames` seconds."""
        mask_BN = batch["frame_mask"]
        return mask_BN & (batch["frame_age"] < self.config.max_frames) if "frame_age" in batch else mask_BN

    def frame_vectors(self, batch: dict[str, Tensor]) -> Tensor:
        """The frames (B, N, X): of CLIP, or of the tower ("learned")."""
        frames_BND = batch["frames"] * self.config.frame_norm
        if self.config.weighting == "learned":
            return self.tower.frames(frames_BND, self.frame_mask(batch))
        return frames_BND

    def weigh_frames(self, batch: dict[str, Tensor]) -> Tensor:
        """The weights of the frames (B, N): they sum to 1 for a clip with frames, to 0 for one without. With the
        learned weighting and a softmax for each comment they are the mean of those, and 0 without chat."""
        text = self._text_memory(batch) if self.config.pooling == "attention" else None
        return self._weigh(batch, self.frame_vectors(batch), text)[0]

    def _weigh(
        self, batch: dict[str, Tensor], frames_BNX: Tensor, text: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Weights (B, N), and for each comment (B, N, C) where it has its own. text: the chat's memory and mask."""
        config, mask_BN, mask_BC = self.config, self.frame_mask(batch), batch["comment_mask"]
        if config.pooling == "attention":
            assert text is not None
            return self._attend_frames(frames_BNX, mask_BN, *text), None
        learned = config.weighting == "learned"
        comments_BCX = self.text_features(batch) if config.weighs_by_chat else None
        if learned and comments_BCX is not None:
            comments_BCX = self.tower.comments(comments_BCX)
        temperature = config.frame_temperature
        if config.learn_temperature:
            temperature = self.log_temperature.weight.exp().squeeze()
        if learned and comments_BCX is not None and (config.pooling, config.aggregation) == ("semantic", "each"):
            logits_BNC = frames_BNX @ comments_BCX.transpose(1, 2) / temperature
            each_BNC = weights_of_each(logits_BNC, mask_BN, mask_BC)
            return each_BNC.sum(-1) / mask_BC.sum(1, keepdim=True).clamp(min=1), each_BNC
        weights_BN = frame_weights(
            config.pooling,
            frames_BNX,
            mask_BN,
            comments_BCX,
            mask_BC,
            temperature=temperature,
            weighting="dot" if learned else config.weighting,  # the tower's vectors have unit length
            aggregation=config.aggregation,
            focal_mask_BN=batch.get("focal_mask"),
        )
        return weights_BN, None

    def _attend_frames(self, frames_BNX: Tensor, mask_BN: Tensor, text_BCW: Tensor, text_mask_BC: Tensor) -> Tensor:
        real_BC = text_mask_BC.to(text_BCW.dtype)
        chat_BW = torch.einsum("bcw,bc->bw", text_BCW, real_BC) / real_BC.sum(1, keepdim=True).clamp(min=1)
        keys_BNW = self.frame_key(self._project(frames_BNX))
        return attention_weights(self.frame_query(chat_BW), keys_BNW, mask_BN)

    def _project(self, video_BMX: Tensor) -> Tensor:
        """Frame vectors in the model's width; unit vectors of D numbers are brought to unit size a number first, as the
        rest of the network is. Those of the tower are there already."""
        if self.config.weighting == "learned":
            return video_BMX
        projected: Tensor = self.video_norm(self.video_projection(video_BMX * math.sqrt(self.config.clip_dim)))
        return projected

    # -- the memories

    def _text_memory(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """A vector a comment (B, C, W) and which are real (B, C); one is in every clip."""
        if not self.config.memory_marks:
            batch = self._with_empty_comments(batch)
        mask_BC = batch["comment_mask"]
        vectors_UW = self.context_encoder.comments(self.embedding, batch["comment_ids"], batch["comment_lengths"])
        comments_BCW = vectors_UW.index_select(0, batch["comment_index"].flatten()).unflatten(0, mask_BC.shape)
        if self.config.context_positions == "recency":
            age_BC = (mask_BC.sum(1, keepdim=True) - mask_BC.cumsum(1)).clamp(0, self.config.max_context_comments - 1)
            comments_BCW = comments_BCW + self.recency(age_BC)
        return self._marked(comments_BCW, mask_BC, TEXT)

    def _with_empty_comments(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A clip without chat has one comment without words."""
        mask_BC, index_BC, ids, lengths = (
            batch[name] for name in ("comment_mask", "comment_index", "comment_ids", "comment_lengths")
        )
        silent_B = ~mask_BC.any(1)
        if not silent_B.any():
            return batch
        ids = F.pad(ids, (0, max(0, 2 - ids.shape[1])))
        empty = torch.zeros_like(ids[:1])
        empty[0, 0], empty[0, 1] = self.config.bos_token_id, self.config.eos_token_id
        place = silent_B[:, None] & (torch.arange(mask_BC.shape[1], device=mask_BC.device) == 0)
        return batch | {
            "comment_ids": torch.cat([ids, empty]),
            "comment_lengths": torch.cat([lengths, torch.full_like(lengths[:1], 2)]),
            "comment_index": torch.where(place, len(ids), index_BC),
            "comment_mask": mask_BC | place,
        }

    def _video_memory(
        self, batch: dict[str, Tensor], frames_BNX: Tensor, weights_BN: Tensor, each_BNC: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The video token (B, 1, W), or with the pooling "all" every frame (B, N, W), and which are real."""
        mask_BM = self.frame_mask(batch)
        if self.config.pooling == "all":
            video_BMX = frames_BNX
        else:
            mask_BM = mask_BM.any(1, keepdim=True)
            if each_BNC is None:
                token_BX = torch.einsum("bnd,bn->bd", frames_BNX, weights_BN)
            else:
                token_BX = torch.einsum("bnc,bnw->bw", each_BNC, frames_BNX)  # weighted for each comment, then summed
            video_BMX = token_BX[:, None]
        video_BMW = self._project(video_BMX)
        if self.config.pooling == "all":
            video_BMW = video_BMW + self.frame_age(batch["frame_age"].clamp(0, self.config.max_frames - 1))
        return self._marked(video_BMW, mask_BM, VIDEO)

    def _marked(self, memory_BMW: Tensor, mask_BM: Tensor, kind: int) -> tuple[Tensor, Tensor]:
        """Add the kind's vector; where nothing is real, the first place takes the vector that says so (without marks:
        zeros)."""
        first = torch.arange(mask_BM.shape[1], device=mask_BM.device) == 0
        empty_BM = ~mask_BM.any(1, keepdim=True) & first
        if not self.config.memory_marks:
            return torch.where(empty_BM[..., None], 0.0, memory_BMW), mask_BM | empty_BM
        memory_BMW = torch.where(empty_BM[..., None], self.absent.weight[kind], memory_BMW)
        return memory_BMW + self.kind.weight[kind], mask_BM | empty_BM

    def _token_memory(self, norm: Any, ids_BL: Tensor, lengths_B: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The context encoder's vector of every token (B, L, W), and where there is one (B, L). lengths: 1 or more;
        mask (B, 1) or (B, L): where the tokens mean anything."""
        packing = pack(lengths_B.tolist(), ids_BL.device)
        source_S = packing.source(ids_BL.shape[1])
        hidden_SW = norm(self.context_encoder(self.embedding, ids_BL.flatten()[source_S], packing))
        flat = hidden_SW.new_zeros(ids_BL.numel(), hidden_SW.shape[1]).index_copy(0, source_S, hidden_SW)
        place_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
        return flat.unflatten(0, ids_BL.shape), (place_L < lengths_B[:, None]) & mask

    def encode(self, batch: dict[str, Tensor]) -> SfatEncoding:
        """Encode each clip once and project the decoder's keys and values once."""
        text_BCW, text_mask = self._text_memory(batch)
        num_text = text_mask.shape[1]
        joined, mask, weights, each = text_BCW, text_mask, None, None
        if self.config.pooling != "none":
            frames_BNX = self.frame_vectors(batch)
            weights, each = self._weigh(batch, frames_BNX, (text_BCW, text_mask))
            video_BMW, video_mask = self._video_memory(batch, frames_BNX, weights, each)
            joined, mask = torch.cat([text_BCW, video_BMW], 1), torch.cat([text_mask, video_mask], 1)
        for layer in self.fusion:
            joined = layer(joined, attend_masked(mask))
        joined = self.memory_norm(joined)
        parts = {TEXT: (joined[:, :num_text], mask[:, :num_text]), VIDEO: (joined[:, num_text:], mask[:, num_text:])}
        parts |= self._gated_memories(batch)
        projected: dict[str, Tensor] = {}
        for place, kind in enumerate(self.memory_order):
            memory = self.decoder.project(place, *parts[kind])
            projected |= {f"{NAMES[kind]}_kv": memory.kv, f"{NAMES[kind]}_mask": memory.mask}
        return SfatEncoding(
            last_hidden_state=joined,
            frame_weights=weights,
            comment_frame_weights=each,
            **projected,
        )

    def _gated_memories(self, batch: dict[str, Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
        parts = {}
        if TRANSCRIPT in self.memory_order:
            said = (batch["transcript_ids"], batch["transcript_lengths"], batch["transcript_mask"])
            parts[TRANSCRIPT] = self._token_memory(self.transcript_norm, *said)
        if KNOWLEDGE in self.memory_order:
            mask_BL = batch["knowledge_mask"]
            found = (batch["knowledge_ids"], mask_BL.sum(1).clamp(min=1), mask_BL)
            parts[KNOWLEDGE] = self._token_memory(self.knowledge_norm, *found)
        return parts

    def memories(self, encoding: SfatEncoding) -> list[Memory]:
        found = []
        for kind in self.memory_order:
            kv, mask = encoding[f"{NAMES[kind]}_kv"], encoding[f"{NAMES[kind]}_mask"]
            if kind in STREAMS.values():
                present_B = mask.any(1)
                found.append(Memory(kv, mask | ~present_B[:, None], present_B))  # a softmax over nothing is no number
            else:
                found.append(Memory(kv, mask))
        return found

    # -- the released code's own loss and logits

    def logits(
        self, encoding: SfatEncoding, ids_BT: Tensor, mask_BT: Tensor | None = None, *, causal: bool = True
    ) -> Tensor:
        """Logits (B, T, vocabulary) of padded rows, one a clip, as the released code computes them.

        Teacher forcing there is causal with mask_BT (bool, True: a real token); its generation is neither.
        """
        place = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        allowed = (place[:, None] >= place if causal else torch.ones_like(place[:, None] >= place))[None, None]
        if mask_BT is not None:
            allowed = allowed & mask_BT[:, None, None, :]
        hidden = self.decoder.step(self.embedding, ids_BT, self.memories(encoding), allowed=allowed)
        return self.embedding.logits(hidden).float()

    def response_loss(self, encoding: Any, ids: Tensor, lengths: Tensor, clip: Tensor) -> SummedLoss:
        """As for every model; with `count_padding` every position up to the full length counts."""
        if not self.config.count_padding:
            return super().response_loss(encoding, ids, lengths, clip)
        full = self.config.max_response_tokens + 2
        target = F.pad(ids[:, :full], (0, full - min(full, ids.shape[1])), value=self.config.pad_token_id)
        real = torch.arange(full, device=ids.device) < lengths[:, None]
        target = target.masked_fill(~real, self.config.pad_token_id)
        rows = {name: None if value is None else value[clip] for name, value in encoding.items()}
        logits = self.logits(SfatEncoding(**rows), target[:, :-1], real[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), reduction="sum")
        return SummedLoss(loss, torch.tensor(target[:, 1:].numel(), device=loss.device))
