"""LiveBot's Unified Transformer: a video encoder, a text encoder that attends to the video, a decoder that reads both.

    frames          --> video encoder ----+-------------------------+
                                          v                         v
    joined comments --> text encoder (self, video, feed-forward) --> decoder (self, video, text) --> comment

Source: Ma et al. 2019 (arXiv 1809.04938) as FACTS §4 tells; README.md lists the differences.
Legend: B clips, N frames, L tokens of the joined comments, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from videochat.commenter import ClipView

from ..answering import AnsweringModel, Encoding
from ..batches import Collator, pad
from ..decoder import Decoder, DecoderLayer, Memory
from ..encoder import TokenEmbedding
from ..layers import EncoderLayer, attend_masked, sinusoids
from ..streams import latest_frames, or_absent, unit_scale
from .config import LivebotConfig


def joined_comments(collator: Collator, views: Sequence[ClipView], *, most: int) -> dict[str, Tensor]:
    """The context comments as one text: context_ids int64 (B, L), context_lengths (B,).

    Begin, then each comment's tokens and its end token, which keeps comments apart; of these the latest `most`.
    """
    rows = []
    for view in views:
        comments = [collator.comment_ids(c) for c in view.context[-collator.max_context_comments :]]
        begin = collator.encode("", (), 0)[0]
        tokens = [token for ids in comments for token in ids[1:]]
        rows.append((begin, *tokens[-most:]))
    ids, lengths = pad(rows)
    return {"context_ids": ids, "context_lengths": lengths}


class LivebotModel(AnsweringModel):
    config_class = LivebotConfig
    base_model_prefix = "livebot"

    def __init__(self, config: LivebotConfig) -> None:
        super().__init__(config)
        width, heads, hidden = config.width, config.num_heads, config.feed_forward_width
        layers = range(config.num_encoder_layers)
        self.embedding = TokenEmbedding(config.vocab_size, width)
        self.video_in = nn.Linear(config.clip_dim, width)
        self.video_layers = nn.ModuleList(EncoderLayer(width, heads, hidden, config.dropout) for _ in layers)
        self.video_norm = nn.LayerNorm(width)
        self.text_layers = nn.ModuleList(DecoderLayer(width, heads, hidden, 1, config.dropout) for _ in layers)
        self.text_norm = nn.LayerNorm(width)
        self.absent = nn.Embedding(1, width)  # stands for an empty video; an empty chat is its begin token
        self.dropout = nn.Dropout(config.dropout)
        self.decoder = Decoder(
            width=width,
            num_heads=heads,
            hidden_width=hidden,
            num_layers=config.num_decoder_layers,
            num_memories=2,
            dropout=config.dropout,
        )
        self.post_init()

    def encode(self, batch: dict[str, Tensor]) -> Encoding:
        video = self._video(batch)
        return self.encoding([video, self._text(batch, *video)])

    def _video(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        frames_BND, mask_BN = latest_frames(batch, self.config.max_frames, self.config.clip_dim)
        place_N = torch.arange(mask_BN.shape[1], device=mask_BN.device)
        hidden = self.dropout(self.video_in(unit_scale(frames_BND)) + sinusoids(place_N, self.config.width))
        hidden, mask_BN = or_absent(hidden, mask_BN, self.absent.weight[0])
        for layer in self.video_layers:
            hidden = layer(hidden, attend_masked(mask_BN))
        return self.video_norm(hidden), mask_BN

    def _text(self, batch: dict[str, Tensor], video_BNW: Tensor, video_mask_BN: Tensor) -> tuple[Tensor, Tensor]:
        place_L = torch.arange(batch["context_ids"].shape[1], device=video_mask_BN.device)
        mask_BL = place_L < batch["context_lengths"][:, None]
        hidden = self.dropout(self.embedding.embed(batch["context_ids"], place_L))
        for layer in self.text_layers:
            kv = layer.cross_attentions[0].project(video_BNW).transpose(0, 1)[:, None]  # type: ignore[index, union-attr]
            video = Memory(kv, video_mask_BN)
            hidden = layer(
                hidden,
                attend_masked(mask_BL),
                [lambda q, video=video: video.attend(0, q.transpose(1, 2)).transpose(1, 2)],
            )
        return self.text_norm(hidden), mask_BL
