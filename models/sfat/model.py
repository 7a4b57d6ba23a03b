"""SFAT: CLIP weighs the frames by the chat, a multimodal encoder joins them, a decoder reads chat, then video.

    frames (CLIP, frozen)  --weights by context-->  video token --+
    context comments  -->  context encoder  -->  comment vectors -+--> multimodal encoder --> decoder --> comment

Source: arXiv 2510.26978 as described in seed and FACTS §1; README.md lists where this differs from released code.
Batches are those of `videochat.models.batches`.

Legend: B clips, N frames, C context comments, D width of CLIP, W width, U distinct comments, M memory vectors,
R candidate responses, S packed tokens, T tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.utils.generic import ModelOutput

from ..decoder import Decoder, Memory
from ..encoder import ContextEncoder, SummedLoss, TokenEmbedding
from ..frame_pooling import frame_weights
from ..layers import EncoderLayer, attend_masked, initialise
from ..packing import pack
from .config import SfatConfig

TEXT, VIDEO = 0, 1  # rows of the kind embeddings


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


class SfatModel(PreTrainedModel, GenerationMixin):
    config_class = SfatConfig
    base_model_prefix = "sfat"
    main_input_name = "comment_index"

    def __init__(self, config: SfatConfig) -> None:
        super().__init__(config)
        width, shape = config.width, (config.width, config.num_heads, config.feed_forward_width)
        common = {"width": width, "num_heads": config.num_heads, "hidden_width": config.feed_forward_width}
        self.embedding = TokenEmbedding(config.vocab_size, width)
        self.context_encoder = ContextEncoder(**common, num_layers=config.num_context_layers, dropout=config.dropout)
        self.recency = nn.Embedding(config.max_context_comments, width)  # row 0: the latest comment
        self.kind = nn.Embedding(2, width)
        self.absent = nn.Embedding(2, width)  # stands for an empty chat, an empty video
        if config.pooling != "none":
            self.video_projection = nn.Linear(config.clip_dim, width)
            self.video_norm = nn.LayerNorm(width)
            if config.pooling == "all":
                self.frame_age = nn.Embedding(config.max_frames, width)
            if config.learn_temperature:
                self.log_temperature = nn.Embedding(1, 1)
        self.fusion = nn.ModuleList(EncoderLayer(*shape, config.dropout) for _ in range(config.num_fusion_layers))
        self.memory_norm = nn.LayerNorm(width)
        kinds = [TEXT] if config.pooling == "none" else [TEXT, VIDEO]
        self.memory_order = kinds if config.cross_attention_order == "text_video" else kinds[::-1]
        self.decoder = Decoder(
            **common, num_layers=config.num_decoder_layers, num_memories=len(kinds), dropout=config.dropout
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        initialise(module, self.config.width)
        if module is getattr(self, "log_temperature", None):
            nn.init.constant_(module.weight, math.log(self.config.frame_temperature))

    # -- encoding a batch of clips

    def weigh_frames(self, batch: dict[str, Tensor]) -> Tensor:
        """The weights of the frames (B, N), from frozen CLIP features."""
        config = self.config
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

    def _text_memory(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        mask_BC = batch["comment_mask"]
        vectors_UW = self.context_encoder.comments(self.embedding, batch["comment_ids"], batch["comment_lengths"])
        comments_BCW = vectors_UW.index_select(0, batch["comment_index"].flatten()).unflatten(0, mask_BC.shape)
        age_BC = (mask_BC.sum(1, keepdim=True) - mask_BC.cumsum(1)).clamp(0, self.config.max_context_comments - 1)
        return self._or_absent(comments_BCW + self.recency(age_BC), mask_BC, TEXT)

    def _video_memory(self, batch: dict[str, Tensor], weights_BN: Tensor) -> tuple[Tensor, Tensor]:
        frames_BND, mask_BN = batch["frames"], batch["frame_mask"]
        if self.config.pooling == "all":
            video_BMD = frames_BND
        else:
            video_BMD, mask_BN = (
                torch.einsum("bnd,bn->bd", frames_BND, weights_BN)[:, None],
                mask_BN.any(1, keepdim=True),
            )
        # unit vectors of D numbers are brought to unit size a number, as the rest of the network is
        video_BMW = self.video_norm(self.video_projection(video_BMD * math.sqrt(self.config.clip_dim)))
        if self.config.pooling == "all":
            video_BMW = video_BMW + self.frame_age(batch["frame_age"].clamp(0, self.config.max_frames - 1))
        return self._or_absent(video_BMW, mask_BN, VIDEO)

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
            weights = self.weigh_frames(batch)
            video_BMW, video_mask = self._video_memory(batch, weights)
            joined, mask = torch.cat([text_BCW, video_BMW], 1), torch.cat([text_mask, video_mask], 1)
        for layer in self.fusion:
            joined = layer(joined, attend_masked(mask))
        joined = self.memory_norm(joined)
        parts = {TEXT: (joined[:, :num_text], mask[:, :num_text]), VIDEO: (joined[:, num_text:], mask[:, num_text:])}
        memories = {kind: self.decoder.project(i, *parts[kind]) for i, kind in enumerate(self.memory_order)}
        encoding = SfatEncoding(
            last_hidden_state=joined,
            frame_weights=weights,
            text_kv=memories[TEXT].kv,
            text_mask=memories[TEXT].mask,
        )
        if VIDEO in memories:
            encoding.video_kv, encoding.video_mask = memories[VIDEO].kv, memories[VIDEO].mask
        return encoding

    def _memories(self, encoding: SfatEncoding) -> list[Memory]:
        found: dict[int, Any] = {
            TEXT: (encoding.text_kv, encoding.text_mask),
            VIDEO: (encoding.video_kv, encoding.video_mask),
        }
        return [Memory(*found[kind]) for kind in self.memory_order]

    # -- answers

    def token_log_probs(
        self,
        encoding: SfatEncoding,
        response_ids: Tensor,
        response_lengths: Tensor,
        response_clip: Tensor,
        *,
        chunk: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log-probability of each token of each response, end-of-sequence included.

        response_ids: int64 (R, T), begin token, tokens, end token, padding; response_lengths (R,): how many of them
        are real; response_clip (R,): the clip of each, an index into the encoding. chunk: at most so many tokens go
        through the output layer at once (for use without gradients).
        Returns (log_prob_S float32, response_S int64): for each predicted token its value and its response.
        """
        packing = pack((response_lengths - 1).tolist(), response_ids.device)  # inputs: all but the last real token
        source = packing.source(response_ids.shape[1])
        flat = response_ids.flatten()
        hidden_SW = self.decoder.packed(
            self.embedding, flat[source], packing, response_clip[packing.sequence_S], self._memories(encoding)
        )
        labels_S = flat[source + 1]
        parts, step = [], chunk or len(labels_S)
        for hidden, labels in zip(hidden_SW.split(step), labels_S.split(step), strict=True):
            logits = self.embedding.logits(hidden).float()
            parts.append(logits.gather(1, labels[:, None])[:, 0] - logits.logsumexp(-1))
        return torch.cat(parts), packing.sequence_S

    def forward(
        self,
        comment_index: Tensor | None = None,
        comment_mask: Tensor | None = None,
        comment_ids: Tensor | None = None,
        comment_lengths: Tensor | None = None,
        comment_clip: Tensor | None = None,
        frames: Tensor | None = None,
        frame_mask: Tensor | None = None,
        frame_age: Tensor | None = None,
        focal_mask: Tensor | None = None,
        response_ids: Tensor | None = None,
        response_lengths: Tensor | None = None,
        response_clip: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: SfatEncoding | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """With responses: the summed loss (teacher forcing). With decoder_input_ids (B, T): logits (B, T, vocabulary).

        The clip tensors are those of `batches.collate_clips`; they may be left out where encoder_outputs is given.
        """
        if encoder_outputs is None:
            given = {
                "comment_index": comment_index,
                "comment_mask": comment_mask,
                "comment_ids": comment_ids,
                "comment_lengths": comment_lengths,
                "comment_clip": comment_clip,
                "frames": frames,
                "frame_mask": frame_mask,
                "frame_age": frame_age,
                "focal_mask": focal_mask,
            }
            encoder_outputs = self.encode({name: value for name, value in given.items() if value is not None})
        if response_ids is not None:
            assert response_lengths is not None and response_clip is not None
            log_probs, _ = self.token_log_probs(encoder_outputs, response_ids, response_lengths, response_clip)
            return SummedLoss(-log_probs.sum(), torch.tensor(len(log_probs), device=log_probs.device))
        assert decoder_input_ids is not None, "give responses to score or decoder_input_ids to continue"
        cache = getattr(past_key_values, "self_attention_cache", past_key_values)
        hidden = self.decoder.step(self.embedding, decoder_input_ids, self._memories(encoder_outputs), cache)
        logits = self.embedding.logits(hidden).float()
        return Seq2SeqLMOutput(logits=logits, past_key_values=past_key_values)

    # -- what GenerationMixin asks for

    def get_encoder(self, modality: str | None = None) -> Any:
        return _EncoderForGeneration(self)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, TokenEmbedding)
        self.embedding = value

    def get_output_embeddings(self) -> None:
        return None  # logits are the product with the input embedding


class _EncoderForGeneration:
    """`SfatModel.encode` in the shape that `generate` calls."""

    def __init__(self, model: SfatModel) -> None:
        self.model = model

    def forward(self, **kwargs: Any) -> SfatEncoding:
        return self.model.encode({name: value for name, value in kwargs.items() if isinstance(value, Tensor)})

    __call__ = forward
