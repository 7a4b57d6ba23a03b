"""What an MML-CG is made of: the layer counts and widths of its source (FACTS §4) are the size "paper"."""

from __future__ import annotations

from typing import Any

from ..answering_config import AnsweringConfig

SIZES: dict[str, dict[str, Any]] = {
    "sample": {"width": 96, "num_heads": 4, "num_decoder_layers": 2, "feed_forward_width": 192, "dropout": 0.1},
    "small": {"width": 256, "num_heads": 4, "num_decoder_layers": 3, "feed_forward_width": 512, "dropout": 0.1},
    "paper": {},  # LSTMs of 2 layers and 512, 6 blocks with d 512 and FF 512, dropout 0.2
}


class VideoicConfig(AnsweringConfig):
    """num_lstm_layers: of the LSTMs over frames and over a comment's tokens. max_frames: the latest so many count, as
    the 11 of the source. num_seconds, max_comments_per_second: the latest seconds of chat, and the latest comments of
    each (10 and 15 in the source); max_comment_tokens: 20 there with its specials.
    """

    model_type = "videoic-style"

    def __init__(
        self,
        *,
        vocab_size: int = 4096,
        clip_dim: int = 512,
        width: int = 512,
        num_heads: int = 8,
        num_lstm_layers: int = 2,
        num_decoder_layers: int = 6,
        feed_forward_width: int = 512,
        dropout: float = 0.2,
        use_video: bool = True,
        max_frames: int = 11,
        num_seconds: int = 10,
        max_comments_per_second: int = 15,
        max_context_comments: int = 150,
        max_comment_tokens: int = 18,
        max_response_tokens: int = 48,
        pad_token_id: int = 0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        **kwargs: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.own_fields()}
        super().__init__(**given, **kwargs)
