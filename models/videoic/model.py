"""MML-CG of VideoIC: two views of the video, a topic for each second of chat, and a decoder that reads all of them.

    frames   --> LSTM -----------------------> global ---------+
             --> block, the latest frame's --> local ----------+--> decoder without positions --> comment
    comments --> LSTM, weighted in each second by global --> 10 topics

Source: the generation part of MML-CG (VideoIC, ACM MM 2020) as FACTS §4 tells; README.md lists the differences, of
which the greatest is that nothing after now is read and the auxiliary task, which needs that, is left out.
Legend: B clips, N frames, C context comments, U distinct comments, S seconds, D width of CLIP, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from videochat.commenter import ClipView

from ..answering import AnsweringModel, Encoding
from ..batches import Collator
from ..decoder import Decoder
from ..encoder import TokenEmbedding
from ..frame_pooling import masked_softmax
from ..layers import EncoderLayer, attend_masked, sinusoids
from ..streams import latest_frames, unit_scale
from .config import VideoicConfig


def comment_seconds(collator: Collator, views: Sequence[ClipView], *, num_seconds: int, most: int) -> dict[str, Tensor]:
    """second_mask bool (B, S, C): comment c was said in second s before now (0: the last one) and is among the latest
    `most` of that second. C runs over the context as the collator cuts it."""
    contexts = [view.context[-collator.max_context_comments :] for view in views]
    mask = np.zeros((len(views), num_seconds, max(1, *map(len, contexts)) if contexts else 1), dtype=bool)
    for b, (view, context) in enumerate(zip(views, contexts, strict=True)):
        taken = [0] * num_seconds
        for c in reversed(range(len(context))):
            second = (view.now_ms - 1 - context[c].offset_ms) // 1_000
            if 0 <= second < num_seconds and taken[second] < most:
                taken[second] += 1
                mask[b, second, c] = True
    return {"second_mask": torch.from_numpy(mask)}


class UnplacedEmbedding(TokenEmbedding):
    """Tokens without positions: the causal mask alone tells the decoder their order."""

    def embed(self, ids: Tensor, position: Tensor) -> Tensor:
        return self(ids) * math.sqrt(self.embedding_dim)


class VideoicModel(AnsweringModel):
    config_class = VideoicConfig
    base_model_prefix = "videoic"

    def __init__(self, config: VideoicConfig) -> None:
        super().__init__(config)
        width, layers = config.width, config.num_lstm_layers
        recurrent = {"num_layers": layers, "batch_first": True, "dropout": config.dropout if layers > 1 else 0.0}
        self.embedding = UnplacedEmbedding(config.vocab_size, width)
        self.frame_in = nn.Linear(config.clip_dim, width)
        self.frame_lstm = nn.LSTM(width, width, **recurrent)
        self.frame_block = EncoderLayer(width, config.num_heads, config.feed_forward_width, config.dropout)
        self.comment_lstm = nn.LSTM(width, width, **recurrent)
        self.absent = nn.Embedding(2, width)  # the global and the local view of an empty video
        self.memory_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.decoder = Decoder(
            width=width,
            num_heads=config.num_heads,
            hidden_width=config.feed_forward_width,
            num_layers=config.num_decoder_layers,
            num_memories=1,
            dropout=config.dropout,
        )
        self.post_init()

    def encode(self, batch: dict[str, Tensor]) -> Encoding:
        video_B2W = self._video(batch)
        topics_BSW, mask_BS = self._topics(batch, video_B2W[:, 0])
        seen_B2 = torch.ones(video_B2W.shape[:2], dtype=torch.bool, device=mask_BS.device)
        memory = self.memory_norm(torch.cat([topics_BSW, video_B2W], 1))
        return self.encoding([(memory, torch.cat([mask_BS, seen_B2], 1))])

    def _video(self, batch: dict[str, Tensor]) -> Tensor:
        """The global and the local view of the video (B, 2, W)."""
        frames_BND, mask_BN = latest_frames(batch, self.config.max_frames, self.config.clip_dim)
        count_B = mask_BN.sum(1)
        hidden_BNW = self.dropout(self.frame_in(unit_scale(frames_BND)))
        whole_BW = last_state(self.frame_lstm, hidden_BNW, count_B.clamp(min=1))
        place_N = torch.arange(mask_BN.shape[1], device=mask_BN.device)
        readable = mask_BN | (~mask_BN.any(1, keepdim=True) & (place_N == 0))  # a softmax over nothing is no number
        block_BNW = self.frame_block(hidden_BNW + sinusoids(place_N, self.config.width), attend_masked(readable))
        now_BW = block_BNW[torch.arange(len(count_B), device=count_B.device), (count_B - 1).clamp(min=0)]
        views_B2W = torch.stack([whole_BW, now_BW], 1)
        return torch.where((count_B > 0)[:, None, None], views_B2W, self.absent.weight.to(views_B2W.dtype))

    def _topics(self, batch: dict[str, Tensor], global_BW: Tensor) -> tuple[Tensor, Tensor]:
        """What the chat said in each second, its comments weighted by their product with the global view."""
        ids_UL = batch["comment_ids"]
        words_ULW = self.dropout(self.embedding.embed(ids_UL, ids_UL))
        vectors_UW = last_state(self.comment_lstm, words_ULW, batch["comment_lengths"])
        comments_BCW = vectors_UW.index_select(0, batch["comment_index"].flatten()).unflatten(
            0, batch["comment_index"].shape
        )
        mask_BSC = batch["second_mask"] & batch["comment_mask"][:, None]
        product_BC = torch.einsum("bcw,bw->bc", comments_BCW, global_BW)
        weights_BSC = masked_softmax(product_BC[:, None].expand_as(mask_BSC), mask_BSC)
        return torch.einsum("bsc,bcw->bsw", weights_BSC, comments_BCW), mask_BSC.any(-1)


def last_state(lstm: nn.LSTM, rows_UXW: Tensor, lengths_U: Tensor) -> Tensor:
    """The top layer's state after the last real row of each sequence (U, W); padding is not read."""
    packed = pack_padded_sequence(rows_UXW, lengths_U.cpu(), batch_first=True, enforce_sorted=False)
    return lstm(packed)[1][0][-1]
