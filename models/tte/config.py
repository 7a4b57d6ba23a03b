"""What a TTE is made of: the layer counts and widths of its source (FACTS §4) are the size "paper"."""

from __future__ import annotations

from typing import Any

from ..answering_config import AnsweringConfig

# paper: bert-mini (4 layers, width 256, 4 heads) for both texts; 4 layers of width 2048 for the video; a decoder of 4.
SIZES: dict[str, dict[str, Any]] = {
    "sample": {
        "width": 96,
        "num_heads": 4,
        "num_context_layers": 1,
        "context_feed_forward_width": 384,
        "num_decoder_layers": 2,
        "feed_forward_width": 192,
        "video_width": 128,
        "num_video_layers": 1,
        "num_video_heads": 4,
        "video_feed_forward_width": 256,
    },
    "small": {"num_context_layers": 2, "num_decoder_layers": 3, "video_width": 512, "num_video_layers": 2},
    "paper": {},
}


class TteConfig(AnsweringConfig):
    """width, num_heads, num_decoder_layers, feed_forward_width: the decoder. num_context_*, context_*: both text
    encoders, of the same width. num_video_*, video_*: the video encoder. max_transcript_tokens: the latest so many
    count. max_frames: the latest so many count; the source keeps all 30 of a clip.
    """

    model_type = "tte-style"

    def __init__(
        self,
        *,
        vocab_size: int = 4096,
        clip_dim: int = 512,
        width: int = 256,
        num_heads: int = 8,
        num_decoder_layers: int = 4,
        feed_forward_width: int = 512,
        num_context_layers: int = 4,
        num_context_heads: int = 4,
        context_feed_forward_width: int = 1024,
        video_width: int = 2048,
        num_video_layers: int = 4,
        num_video_heads: int = 8,
        video_feed_forward_width: int = 512,
        dropout: float = 0.1,
        use_video: bool = True,
        max_context_comments: int = 15,
        max_comment_tokens: int = 24,
        max_response_tokens: int = 48,
        max_transcript_tokens: int = 98,
        max_frames: int = 30,
        pad_token_id: int = 0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        **kwargs: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.own_fields()}
        super().__init__(**given, **kwargs)

    def attention_shapes(self) -> list[tuple[int, int]]:
        return [
            (self.width, self.num_heads),
            (self.width, self.num_context_heads),
            (self.video_width, self.num_video_heads),
        ]

    @property
    def context_shape(self) -> dict[str, Any]:
        """Of the text encoders."""
        return {
            "width": self.width,
            "num_heads": self.num_context_heads,
            "hidden_width": self.context_feed_forward_width,
            "num_layers": self.num_context_layers,
            "dropout": self.dropout,
        }
