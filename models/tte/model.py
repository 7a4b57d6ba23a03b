"""TTE: chat, transcript and every frame, each with an encoder of its own, read by the decoder in that order.

    comments   --> text encoder, one [BOS] vector each  --+
    transcript --> text encoder, one [BOS] vector       --+--> decoder: chat, then transcript, then video --> comment
    frames     --> linear + positions, post-norm layers --+

Source: the three-stream model of LiveChat (FACTS §4); README.md lists the differences.
Legend: B clips, N frames, C context comments, D width of CLIP, V width of the video encoder, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..answering import AnsweringModel, Encoding
from ..decoder import Decoder
from ..encoder import ContextEncoder, TokenEmbedding
from ..layers import Attend, SelfAttention, attend_masked, sinusoids
from ..streams import latest_frames, or_absent, unit_scale
from .config import TteConfig

CHAT, TRANSCRIPT, VIDEO = range(3)  # rows of the vectors that stand for an absent stream, in the decoder's order


class PostNormLayer(nn.Module):
    """norm(x + attention(x)), then norm(x + feed-forward(x)) with ReLU, as torch's own encoder layer by default."""

    def __init__(self, width: int, num_heads: int, hidden_width: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, num_heads)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden_width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_width, width)
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, attend: Attend) -> Tensor:
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, attend)))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))


class TteModel(AnsweringModel):
    config_class = TteConfig
    base_model_prefix = "tte"

    def __init__(self, config: TteConfig) -> None:
        super().__init__(config)
        video = (config.video_width, config.num_video_heads, config.video_feed_forward_width, config.dropout)
        self.embedding = TokenEmbedding(config.vocab_size, config.width)
        self.context_encoder = ContextEncoder(**config.context_shape)
        self.transcript_encoder = ContextEncoder(**config.context_shape)
        self.video_in = nn.Linear(config.clip_dim, config.video_width)
        self.video_dropout = nn.Dropout(config.dropout)
        self.video_layers = nn.ModuleList(PostNormLayer(*video) for _ in range(config.num_video_layers))
        self.video_out = nn.Linear(config.video_width, config.width)
        self.absent = nn.Embedding(3, config.width)
        self.decoder = Decoder(
            width=config.width,
            num_heads=config.num_heads,
            hidden_width=config.feed_forward_width,
            num_layers=config.num_decoder_layers,
            num_memories=3,
            dropout=config.dropout,
        )
        self.post_init()

    def encode(self, batch: dict[str, Tensor]) -> Encoding:
        memories = (self._chat(batch), self._transcript(batch), self._video(batch))
        return self.encoding([or_absent(*m, absent) for m, absent in zip(memories, self.absent.weight, strict=True)])

    def _chat(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        mask_BC = batch["comment_mask"]
        vectors_UW = self.context_encoder.comments(self.embedding, batch["comment_ids"], batch["comment_lengths"])
        return vectors_UW.index_select(0, batch["comment_index"].flatten()).unflatten(0, mask_BC.shape), mask_BC

    def _transcript(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        ids, lengths = batch["transcript_ids"], batch["transcript_lengths"]
        vectors_BW = self.transcript_encoder.comments(self.embedding, ids, lengths)
        return vectors_BW[:, None], batch["transcript_mask"]

    def _video(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        frames_BND, mask_BN = latest_frames(batch, self.config.max_frames, self.config.clip_dim)
        place_N = torch.arange(mask_BN.shape[1], device=mask_BN.device)
        hidden = self.video_dropout(self.video_in(unit_scale(frames_BND))) + sinusoids(place_N, self.config.video_width)
        readable = mask_BN | (~mask_BN.any(1, keepdim=True) & (place_N == 0))  # a softmax over nothing is no number
        for layer in self.video_layers:
            hidden = layer(hidden, attend_masked(readable))
        return self.video_out(hidden), mask_BN
