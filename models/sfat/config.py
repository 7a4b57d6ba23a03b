"""What an SFAT is made of; every ablation is a field here, none is a copy of the code.

SfatConfig(vocab_size=4096, clip_dim=64, pooling="mean", **SIZES["sample"])
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from videochat.errors import UsageError

from ..frame_pooling import AGGREGATIONS, ALIASES, POOLINGS, WEIGHTINGS
from ..gate import GATES

ORDERS = ("text_video", "video_text")
CONTEXT_POSITIONS = ("recency", "none")
FRAME_TEMPERATURE = 0.1  # as in the released code (FACTS §1); the description leaves it open
STREAMS = ("off", *GATES)
GATE_COST = 0.01  # nats; far below what a stream that helps is worth, enough to shut one that does not (README.md)
MAX_CONTEXT_COMMENTS = 15  # the latest ones, as many as the released code draws in evaluation (FACTS §1)

# sample: fits the demo's minutes on one core (FACTS §9). small: for real chat on a CPU. base: 138 M parameters with a
# vocabulary of 50,000, the size of FACTS §7.
SIZES: dict[str, dict[str, Any]] = {
    "sample": {"width": 96, "num_heads": 4, "num_context_layers": 1, "num_fusion_layers": 1, "num_decoder_layers": 2},
    "small": {"width": 256, "num_heads": 4, "num_context_layers": 2, "num_fusion_layers": 1, "num_decoder_layers": 3},
    "base": {"width": 768, "num_heads": 12, "num_context_layers": 3, "num_fusion_layers": 1, "num_decoder_layers": 6},
}


class SfatConfig(PretrainedConfig):
    """Fields

    vocab_size, pad_token_id, bos_token_id, eos_token_id: of the tokenizer. clip_dim: width of the CLIP features.
    width, num_heads, num_*_layers, feed_forward_width (0: four times the width), dropout: the transformer. The
    multimodal encoder (fusion) is off with num_fusion_layers = 0.
    pooling: "semantic" (the model), "mean" (or "uniform"), "max" (the most similar frame), "attention" (weights learned
    from scratch, a query from the chat against the frames), "none" (text only), "all" (every frame stays a memory
    vector), "oracle" (the focal event of simulated data).
    frame_temperature: of the softmax over frames (`temperature` is generation's word); learn_temperature makes it a
    parameter that starts there.
    weighting: "cosine" or "dot"; aggregation over comments: "sum", "mean" or "recency".
    cross_attention_order: "text_video" (the description) or "video_text".
    max_context_comments: the latest so many count; max_comment_tokens, max_response_tokens: longer ones are cut.
    context_positions: "recency" tells the model how many comments ago each was written, "none" leaves them a set, as in
    the released code; stored only where it is "none".
    transcript: "off", or the kind of gate (`videochat.models.gate`) before which the decoder reads what was said:
    "scalar", "position", or "open" (no gate). max_transcript_tokens: the latest so many count.
    knowledge: the same for facts retrieved for the chat (`videochat.models.retrieval`): num_facts, cut together to
    max_knowledge_tokens; chat_knowledge: the training split's comments are facts; facts_digest: of the user's own, ""
    without.
    gate_cost: what a wholly open gate costs in training, in nats a token.
    Fields of a stream that is "off" are not stored: such a configuration is that of a model that knows of none.
    """

    model_type = "sfat"
    context_positions = "recency"
    transcript = "off"
    max_transcript_tokens = 98  # as TTE (FACTS §4: 100 with begin and end)
    knowledge = "off"
    num_facts = 4
    max_knowledge_tokens = 80  # as KLVCG (FACTS §4)
    chat_knowledge = True
    facts_digest = ""
    gate_cost = GATE_COST

    def __init__(
        self,
        *,
        vocab_size: int = 4096,
        clip_dim: int = 512,
        width: int = 96,
        num_heads: int = 4,
        num_context_layers: int = 1,
        num_fusion_layers: int = 1,
        num_decoder_layers: int = 2,
        feed_forward_width: int = 0,
        dropout: float = 0.1,
        pooling: str = "semantic",
        frame_temperature: float = FRAME_TEMPERATURE,
        learn_temperature: bool = False,
        weighting: str = "cosine",
        aggregation: str = "sum",
        cross_attention_order: str = "text_video",
        max_context_comments: int = MAX_CONTEXT_COMMENTS,
        max_comment_tokens: int = 24,
        max_response_tokens: int = 48,
        max_frames: int = 40,
        context_positions: str = "recency",
        transcript: str = "off",
        max_transcript_tokens: int = 98,
        knowledge: str = "off",
        num_facts: int = 4,
        max_knowledge_tokens: int = 80,
        chat_knowledge: bool = True,
        facts_digest: str = "",
        gate_cost: float = GATE_COST,
        pad_token_id: int = 0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        **kwargs: Any,
    ) -> None:
        pooling = ALIASES.get(pooling, pooling)
        for name, value, known in (
            ("pooling", pooling, POOLINGS),
            ("context_positions", context_positions, CONTEXT_POSITIONS),
            ("weighting", weighting, WEIGHTINGS),
            ("aggregation", aggregation, AGGREGATIONS),
            ("cross_attention_order", cross_attention_order, ORDERS),
            ("transcript", transcript, STREAMS),
            ("knowledge", knowledge, STREAMS),
        ):
            if value not in known:
                raise UsageError(f"{name} is {value!r}", fix=f"choose one of {', '.join(known)}")
        for name, size, least in (
            ("width", width, 1),
            ("num_heads", num_heads, 1),
            ("num_context_layers", num_context_layers, 0),
            ("num_fusion_layers", num_fusion_layers, 0),
            ("num_decoder_layers", num_decoder_layers, 1),
            ("feed_forward_width", feed_forward_width, 0),
            ("max_context_comments", max_context_comments, 1),
            ("max_comment_tokens", max_comment_tokens, 1),
            ("max_response_tokens", max_response_tokens, 1),
            ("max_frames", max_frames, 1),
            ("max_transcript_tokens", max_transcript_tokens, 1),
            ("num_facts", num_facts, 1),
            ("max_knowledge_tokens", max_knowledge_tokens, 1),
        ):
            if size is not None and size < least:
                raise UsageError(f"{name} is {size}", fix=f"make it {least} or more")
        if width % (2 * num_heads):
            raise UsageError(f"width {width} does not suit {num_heads} heads", fix="a multiple of twice the heads")
        if not 0 < frame_temperature < float("inf") or not 0 <= dropout < 1:
            raise UsageError(
                f"frame_temperature {frame_temperature}, dropout {dropout}",
                fix="frame_temperature > 0, 0 <= dropout < 1",
            )
        if not 0 <= gate_cost < float("inf"):
            raise UsageError(f"gate_cost is {gate_cost}", fix="make it 0 or more")
        if facts_digest and knowledge == "off":
            raise UsageError("facts were given, but knowledge is off", fix="train sfat-knowledge")
        if knowledge != "off" and not (chat_knowledge or facts_digest):
            raise UsageError("chat_knowledge is false and no facts were given", fix="add --set facts=FILE")
        self.vocab_size = vocab_size
        self.clip_dim = clip_dim
        self.width = width
        self.num_heads = num_heads
        self.num_context_layers = num_context_layers
        self.num_fusion_layers = num_fusion_layers
        self.num_decoder_layers = num_decoder_layers
        self.feed_forward_width = feed_forward_width or 4 * width
        self.dropout = dropout
        self.pooling = pooling
        self.frame_temperature = frame_temperature
        self.learn_temperature = learn_temperature
        self.weighting = weighting
        self.aggregation = aggregation
        self.cross_attention_order = cross_attention_order
        self.max_context_comments = max_context_comments
        self.max_comment_tokens = max_comment_tokens
        self.max_response_tokens = max_response_tokens
        self.max_frames = max_frames
        if context_positions != "recency":
            self.context_positions = context_positions
        if transcript != "off":
            self.transcript = transcript
            self.max_transcript_tokens = max_transcript_tokens
        if knowledge != "off":
            self.knowledge = knowledge
            self.num_facts = num_facts
            self.max_knowledge_tokens = max_knowledge_tokens
            self.chat_knowledge = chat_knowledge
            self.facts_digest = facts_digest
        if transcript != "off" or knowledge != "off":
            self.gate_cost = gate_cost
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
        said = frozenset() if self.transcript == "off" else frozenset({"transcript"})
        if self.pooling == "none":
            return said
        if self.pooling in ("mean", "attention", "all", "oracle"):
            return said | {"frames"}
        return said | {"frames", "text_embeddings"}
