"""What the released SFAT is made of (FACTS §1); the defaults are the released sizes.

SfatReleasedConfig()                             # 30,522 word pieces, width 256, CLIP ViT-B/32
SfatReleasedConfig(vocab_size=500, clip_dim=64, **SIZES["sample"])
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from videochat.errors import UsageError

TEXT_TOWERS = ("stored", "tuned", "frozen")

# released: the published sizes. small: the same on a CPU, with the corpus's tokenizer. sample: the demo's minutes.
SIZES: dict[str, dict[str, Any]] = {
    "sample": {
        "width": 96,
        "num_context_layers": 1,
        "num_context_heads": 4,
        "context_feed_forward_width": 384,
        "num_video_layers": 1,
        "num_video_heads": 4,
        "num_decoder_layers": 2,
        "num_decoder_heads": 4,
        "decoder_feed_forward_width": 192,
    },
    "small": {},
    "released": {},
}


class SfatReleasedConfig(PretrainedConfig):
    """Fields

    vocab_size, pad_token_id, bos_token_id ([CLS]), eos_token_id ([SEP]): of the tokenizer. clip_dim: width of the CLIP
    features and of the video tower. width: of BERT, decoder and shared projection.
    num_*_layers, num_*_heads, *_feed_forward_width, dropout: the three transformers. max_positions: rows of BERT's
    learned positions.
    frame_temperature: of the softmax over frames, fixed. frame_norm, text_norm: the stored unit vectors are multiplied
    by these, for weights that were learnt on CLIP's raw vectors.
    text_tower: "stored" reads the CLIP text embeddings of the shards; "tuned" and "frozen" run CLIP's text tower inside
    the model (`clip_text` holds the fields of its CLIPTextConfig), trained with the rest or not.
    max_context_comments: the latest so many count (15: the released evaluation). train_context_draws: in training so
    many of them are drawn with replacement at each read (5: released); 0: all, as they were said. max_comment_tokens,
    max_response_tokens: longer texts are cut; without [CLS] and [SEP], so 8 are the released 10.
    bert, clip_text_model: the pretrained models, by name or folder, whose weights and word pieces the training started
    from; "": none, and a tokenizer trained on the corpus.
    count_padding: the loss counts padding up to the full length, as the released one does.
    """

    model_type = "sfat-released"

    def __init__(
        self,
        *,
        vocab_size: int = 30_522,
        clip_dim: int = 512,
        width: int = 256,
        num_context_layers: int = 4,
        num_context_heads: int = 4,
        context_feed_forward_width: int = 1024,
        max_positions: int = 512,
        num_video_layers: int = 4,
        num_video_heads: int = 8,
        video_feed_forward_width: int = 256,
        num_decoder_layers: int = 4,
        num_decoder_heads: int = 8,
        decoder_feed_forward_width: int = 512,
        dropout: float = 0.1,
        frame_temperature: float = 0.1,
        frame_norm: float = 1.0,
        text_norm: float = 1.0,
        text_tower: str = "stored",
        clip_text: dict[str, Any] | None = None,
        max_context_comments: int = 15,
        train_context_draws: int = 0,
        max_comment_tokens: int = 8,
        max_response_tokens: int = 8,
        count_padding: bool = True,
        bert: str = "",
        clip_text_model: str = "",
        pad_token_id: int = 0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        **kwargs: Any,
    ) -> None:
        if text_tower not in TEXT_TOWERS:
            raise UsageError(f"text_tower is {text_tower!r}", fix=f"choose one of {', '.join(TEXT_TOWERS)}")
        for part, wide, heads in (
            ("context", width, num_context_heads),
            ("video", clip_dim, num_video_heads),
            ("decoder", width, num_decoder_heads),
        ):
            if heads < 1 or wide % heads:
                raise UsageError(f"width {wide} of the {part} has {heads} heads", fix="make it a multiple of the heads")
        longest = 2 + max(max_comment_tokens, max_response_tokens)
        if min(max_context_comments, max_comment_tokens, max_response_tokens) < 1 or longest > max_positions:
            raise UsageError(
                f"lengths {max_context_comments}, {max_comment_tokens}, {max_response_tokens} do not suit",
                fix=f"1 or more, and at most {max_positions - 2} tokens",
            )
        if not 0 < frame_temperature < float("inf") or not 0 <= dropout < 1:
            raise UsageError(
                f"frame_temperature {frame_temperature}, dropout {dropout}",
                fix="frame_temperature > 0, 0 <= dropout < 1",
            )
        self.vocab_size = vocab_size
        self.clip_dim = clip_dim
        self.width = width
        self.num_context_layers = num_context_layers
        self.num_context_heads = num_context_heads
        self.context_feed_forward_width = context_feed_forward_width
        self.max_positions = max_positions
        self.num_video_layers = num_video_layers
        self.num_video_heads = num_video_heads
        self.video_feed_forward_width = video_feed_forward_width
        self.num_decoder_layers = num_decoder_layers
        self.num_decoder_heads = num_decoder_heads
        self.decoder_feed_forward_width = decoder_feed_forward_width
        self.dropout = dropout
        self.frame_temperature = frame_temperature
        self.frame_norm = frame_norm
        self.text_norm = text_norm
        self.text_tower = text_tower
        self.clip_text = clip_text
        self.max_context_comments = max_context_comments
        self.train_context_draws = train_context_draws
        self.max_comment_tokens = max_comment_tokens
        self.max_response_tokens = max_response_tokens
        self.count_padding = count_padding
        self.bert = bert
        self.clip_text_model = clip_text_model
        common = {
            "pad_token_id": pad_token_id,
            "bos_token_id": bos_token_id,
            "eos_token_id": eos_token_id,
            "is_encoder_decoder": True,
            "tie_word_embeddings": False,
            "decoder_start_token_id": bos_token_id,
        }
        super().__init__(**{**common, **kwargs})

    @property
    def num_hidden_layers(self) -> int:
        """The layers that generation caches."""
        return self.num_decoder_layers

    @property
    def needs(self) -> frozenset[str]:
        """What a clip must hold, in the terms of `Commenter.needs`."""
        return frozenset({"frames", "text_embeddings"}) if self.text_tower == "stored" else frozenset({"frames"})
