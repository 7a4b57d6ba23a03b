"""What a KLVCG-style model is made of; "paper" has the published sizes.

KlvcgConfig(vocab_size=4096, clip_dim=64, **SIZES["sample"])
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from videochat.errors import UsageError

# Layer counts are the same in all: 2 for frames, 2 + 2 for comments, 1 for knowledge, 2 for the cross encoder, 1 to
# decode (FACTS §4). paper: hidden 384, FF 1536, 12 heads, as published. sample, small: for the demo's and for real chat
# on a CPU.
SIZES: dict[str, dict[str, Any]] = {
    "sample": {"width": 96, "num_heads": 4},
    "small": {"width": 192, "num_heads": 6},
    "paper": {"width": 384, "num_heads": 12},
}


class KlvcgConfig(PretrainedConfig):
    """Fields

    vocab_size, pad_token_id, bos_token_id, eos_token_id: of the tokenizer. clip_dim: width of the CLIP features.
    width, num_heads, feed_forward_width (0: four times the width), num_*_layers, dropout: the transformer.
    num_slots, slot_ms: the latest chat is cut into so many slots of so long; max_slot_tokens: of a slot's comments.
    max_frames, frame_step_s: the latest so many frames, so many seconds apart; use_video: without it the model sees
    no frames.
    num_facts, max_knowledge_tokens: at most so many retrieved facts, cut to so many tokens (num_facts 0: none).
    chat_knowledge: the training split's comments are facts; facts_digest: of the user's own facts, "" without.
    target_mask: share of the tokens of an answer that are masked in pretraining.
    max_context_comments: the latest so many are read; max_comment_tokens, max_response_tokens: longer ones are cut.
    """

    model_type = "klvcg-style"

    def __init__(
        self,
        vocab_size: int = 8192,
        clip_dim: int = 64,
        width: int = 96,
        num_heads: int = 4,
        feed_forward_width: int = 0,
        num_video_layers: int = 2,
        num_context_layers: int = 2,
        num_temporal_layers: int = 2,
        num_knowledge_layers: int = 1,
        num_cross_layers: int = 2,
        num_decoder_layers: int = 1,
        dropout: float = 0.1,
        num_slots: int = 10,
        slot_ms: int = 2_000,
        max_slot_tokens: int = 100,
        max_frames: int = 11,
        frame_step_s: int = 3,
        use_video: bool = True,
        num_facts: int = 8,
        max_knowledge_tokens: int = 80,
        chat_knowledge: bool = True,
        facts_digest: str = "",
        target_mask: float = 0.3,
        max_context_comments: int = 64,
        max_comment_tokens: int = 24,
        max_response_tokens: int = 48,
        pad_token_id: int = 0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        **kwargs: Any,
    ) -> None:
        for name, size, least in (
            ("width", width, 1),
            ("num_heads", num_heads, 1),
            ("feed_forward_width", feed_forward_width, 0),
            ("num_video_layers", num_video_layers, 0),
            ("num_context_layers", num_context_layers, 0),
            ("num_temporal_layers", num_temporal_layers, 0),
            ("num_knowledge_layers", num_knowledge_layers, 0),
            ("num_cross_layers", num_cross_layers, 0),
            ("num_decoder_layers", num_decoder_layers, 1),
            ("num_slots", num_slots, 1),
            ("slot_ms", slot_ms, 1),
            ("max_slot_tokens", max_slot_tokens, 1),
            ("max_frames", max_frames, 1),
            ("frame_step_s", frame_step_s, 1),
            ("num_facts", num_facts, 0),
            ("max_knowledge_tokens", max_knowledge_tokens, 1),
            ("max_context_comments", max_context_comments, 1),
            ("max_comment_tokens", max_comment_tokens, 1),
            ("max_response_tokens", max_response_tokens, 1),
        ):
            if size < least:
                raise UsageError(f"{name} is {size}", fix=f"make it {least} or more")
        if width % (2 * num_heads):
            raise UsageError(f"width {width} does not suit {num_heads} heads", fix="a multiple of twice the heads")
        if not 0 <= dropout < 1 or not 0 < target_mask <= 1:
            raise UsageError(
                f"dropout {dropout}, target_mask {target_mask}", fix="0 <= dropout < 1, 0 < target_mask <= 1"
            )
        self.vocab_size = vocab_size
        self.clip_dim = clip_dim
        self.width = width
        self.num_heads = num_heads
        self.feed_forward_width = feed_forward_width or 4 * width
        self.num_video_layers = num_video_layers
        self.num_context_layers = num_context_layers
        self.num_temporal_layers = num_temporal_layers
        self.num_knowledge_layers = num_knowledge_layers
        self.num_cross_layers = num_cross_layers
        self.num_decoder_layers = num_decoder_layers
        self.dropout = dropout
        self.num_slots = num_slots
        self.slot_ms = slot_ms
        self.max_slot_tokens = max_slot_tokens
        self.max_frames = max_frames
        self.frame_step_s = frame_step_s
        self.use_video = use_video
        self.num_facts = num_facts
        self.max_knowledge_tokens = max_knowledge_tokens
        self.chat_knowledge = chat_knowledge
        self.facts_digest = facts_digest
        self.target_mask = target_mask
        self.max_context_comments = max_context_comments
        self.max_comment_tokens = max_comment_tokens
        self.max_response_tokens = max_response_tokens
        kwargs.pop("is_encoder_decoder", None)
        kwargs.pop("tie_word_embeddings", None)  # the output is the embedding itself, there is nothing to tie
        common: dict[str, Any] = {
            "is_encoder_decoder": True,
            "tie_word_embeddings": False,
            "pad_token_id": pad_token_id,
            "bos_token_id": bos_token_id,
            "eos_token_id": eos_token_id,
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
        return frozenset({"frames"}) if self.use_video else frozenset()
