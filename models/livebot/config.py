"""What a LiveBot is made of: the layer counts and widths of its source (FACTS §4) are the size "paper"."""

from __future__ import annotations

from typing import Any

from ..answering_config import AnsweringConfig

SIZES: dict[str, dict[str, Any]] = {
    "sample": {
        "width": 96,
        "num_heads": 4,
        "feed_forward_width": 384,
        "num_encoder_layers": 1,
        "num_decoder_layers": 2,
    },
    "small": {
        "width": 256,
        "num_heads": 4,
        "feed_forward_width": 1024,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
    },
    "paper": {},  # d 512, 8 heads, FF 2048, 6 blocks in each part, dropout 0.1
}


class LivebotConfig(AnsweringConfig):
    """num_encoder_layers: of the video and of the text encoder. max_frames: the latest so many count, as the 5 of the
    source. max_context_tokens: the latest so many of the joined comments, as the 100 of the source with two specials.
    """

    model_type = "livebot-style"

    def __init__(
        self,
        *,
        vocab_size: int = 4096,
        clip_dim: int = 512,
        width: int = 512,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        feed_forward_width: int = 2048,
        dropout: float = 0.1,
        use_video: bool = True,
        max_context_comments: int = 30,
        max_comment_tokens: int = 24,
        max_context_tokens: int = 98,
        max_response_tokens: int = 48,
        max_frames: int = 5,
        pad_token_id: int = 0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        **kwargs: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.own_fields()}
        super().__init__(**given, **kwargs)
