"""What an SFAT is made of; every ablation is a field here, none is a copy of the code.

SfatConfig(vocab_size=4096, clip_dim=64, pooling="mean", **SIZES["sample"])
SfatConfig(vocab_size=30_522, **RELEASED)                  # the network of the released code (RELEASED.md)
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from videochat.errors import UsageError

from ..frame_pooling import AGGREGATIONS, ALIASES, POOLINGS, WEIGHTINGS
from ..gate import GATES
from ..layers import NORMS

ORDERS = ("text_video", "video_text")
CONTEXT_POSITIONS = ("recency", "none")
TEXT_TOWERS = ("stored", "frozen", "tuned")
FRAME_TEMPERATURE = 0.1  # as in the released code (FACTS §1); the description leaves it open
STREAMS = ("off", *GATES)
GATE_COST = 0.01  # nats; far below what a stream that helps is worth, enough to shut one that does not (README.md)
MAX_CONTEXT_COMMENTS = 15  # the latest ones, as many as the released code draws in evaluation (FACTS §1)

# sample: fits the demo's minutes on one core (FACTS §9). small: for real chat on a CPU. base: 138 M parameters with a
# vocabulary of 50,000, the size of FACTS §7. tiny: a try of the whole chain.
SIZES: dict[str, dict[str, Any]] = {
    "sample": {"width": 96, "num_heads": 4, "num_context_layers": 1, "num_fusion_layers": 1, "num_decoder_layers": 2},
    "small": {"width": 256, "num_heads": 4, "num_context_layers": 2, "num_fusion_layers": 1, "num_decoder_layers": 3},
    "base": {"width": 768, "num_heads": 12, "num_context_layers": 3, "num_fusion_layers": 1, "num_decoder_layers": 6},
    "tiny": {
        "width": 48, "num_heads": 2, "num_context_layers": 1, "num_fusion_layers": 1, "num_decoder_layers": 1,
        "feed_forward_width": 96,
    },
}  # fmt: skip

# The released network (FACTS §1): BERT-mini, a tower of four layers over the frames, four decoder layers.
RELEASED: dict[str, Any] = {
    "norm": "post",
    "weighting": "learned",
    "aggregation": "each",
    "memory_marks": False,
    "context_positions": "none",
    "count_padding": True,
    "width": 256,
    "num_heads": 8,
    "feed_forward_width": 512,
    "num_context_layers": 4,
    "num_context_heads": 4,
    "context_feed_forward_width": 1024,
    "num_video_layers": 4,
    "num_fusion_layers": 0,
    "num_decoder_layers": 4,
    "max_comment_tokens": 8,  # without [CLS] and [SEP]: the released 10
    "max_response_tokens": 8,
}
# released: the published sizes. small: the same on a CPU, with the corpus's tokenizer. sample: the demo's minutes.
RELEASED_SIZES: dict[str, dict[str, Any]] = {
    "sample": {
        "width": 96, "num_heads": 4, "feed_forward_width": 192, "num_context_layers": 1, "num_context_heads": 4,
        "context_feed_forward_width": 384, "num_video_layers": 1, "num_video_heads": 4, "num_decoder_layers": 2,
    },
    "small": {},
    "released": {},
    "tiny": {
        "width": 48, "num_heads": 8, "feed_forward_width": 512, "num_context_layers": 1, "num_context_heads": 2,
        "context_feed_forward_width": 96, "num_video_layers": 1, "num_video_heads": 2, "video_feed_forward_width": 96,
        "num_decoder_layers": 1,
    },
}  # fmt: skip

# Fields that plain SFAT does not have, with the value that means so; then they are not stored, and such a configuration
# is that of a model that knows of none of them.
LATER: dict[str, Any] = {
    "context_positions": "recency",
    "norm": "pre",
    "memory_marks": True,
    "num_context_heads": 0,
    "context_feed_forward_width": 0,
    "max_positions": 512,
    "num_video_layers": 0,
    "num_video_heads": 8,
    "video_feed_forward_width": 256,
    "frame_norm": 1.0,
    "text_norm": 1.0,
    "text_tower": "stored",
    "clip_text": None,
    "clip_text_model": "",
    "bert": "",
    "train_context_draws": 0,
    "count_padding": False,
    "transcript": "off",
    "max_transcript_tokens": 98,  # as TTE (FACTS §4: 100 with begin and end)
    "knowledge": "off",
    "num_facts": 4,
    "max_knowledge_tokens": 80,  # as KLVCG (FACTS §4)
    "chat_knowledge": True,
    "facts_digest": "",
    "gate_cost": GATE_COST,
}
CHOICES = {
    "pooling": POOLINGS,
    "context_positions": CONTEXT_POSITIONS,
    "weighting": WEIGHTINGS,
    "aggregation": AGGREGATIONS,
    "cross_attention_order": ORDERS,
    "transcript": STREAMS,
    "knowledge": STREAMS,
    "norm": NORMS,
    "text_tower": TEXT_TOWERS,
}
LEAST = {
    "width": 1,
    "num_heads": 1,
    "num_context_layers": 0,
    "num_fusion_layers": 0,
    "num_decoder_layers": 1,
    "feed_forward_width": 0,
    "max_context_comments": 1,
    "max_comment_tokens": 1,
    "max_response_tokens": 1,
    "max_frames": 1,
    "num_context_heads": 0,
    "context_feed_forward_width": 0,
    "max_positions": 2,
    "num_video_layers": 0,
    "num_video_heads": 1,
    "video_feed_forward_width": 1,
    "train_context_draws": 0,
    "max_transcript_tokens": 1,
    "num_facts": 1,
    "max_knowledge_tokens": 1,
}


class SfatConfig(PretrainedConfig):
    """Fields

    vocab_size, pad_token_id, bos_token_id, eos_token_id: of the tokenizer. clip_dim: width of the CLIP features.
    width, num_heads, num_*_layers, feed_forward_width (0: four times the width), dropout: the transformer; the context
    encoder may have num_context_heads and context_feed_forward_width of its own (0: the same). The multimodal encoder
    (fusion) is off with num_fusion_layers = 0.
    norm: where the layers normalise, "pre" or "post". With "post" they are BERT's and torch's: learned positions (at
    most max_positions), an output matrix of its own, ReLU in the decoder. bert: the pretrained BERT, by name or folder,
    whose weights and word pieces the training starts from ("": none).
    pooling: "semantic" (the model), "mean" (or "uniform"), "max" (the most similar frame), "attention" (weights learned
    from scratch, a query from the chat against the frames), "none" (text only), "all" (every frame stays a memory
    vector), "oracle" (the focal event of simulated data).
    weighting: what a frame's similarity to a comment is: "cosine" or "dot" of their CLIP vectors, or "learned": the
    cosine after a tower of num_video_layers (num_video_heads, video_feed_forward_width) over the frames and a
    projection that both share. aggregation over comments: "sum", "mean" or "recency" of the similarities, or "each": a
    softmax for each comment, and the weighted frames of all are summed.
    frame_temperature: of the softmax over frames (`temperature` is generation's word); learn_temperature makes it a
    parameter that starts there.
    text_tower: "stored" reads the CLIP text embeddings of the shards; "tuned" and "frozen" run CLIP's text tower
    (clip_text_model, a name or folder) inside the model (`clip_text` holds the fields of its CLIPTextConfig), trained
    with the rest or not. frame_norm, text_norm: the stored unit vectors are multiplied by these, for weights that were
    learnt on CLIP's raw vectors.
    cross_attention_order: "text_video" (the description) or "video_text".
    max_frames: the frames of so many seconds before the moment count, one a second.
    memory_marks: a vector for each kind of memory is added to it, and one stands for an empty chat or video; without,
    an empty chat is one comment without words and an empty video a vector of zeros.
    max_context_comments: the latest so many count; max_comment_tokens, max_response_tokens: longer ones are cut.
    train_context_draws: in training so many of them are drawn with replacement at each read (5: released); 0: all, as
    they were said.
    context_positions: "recency" tells the model how many comments ago each was written, "none" leaves them a set.
    count_padding: the loss counts padding up to the full length, as the released one does.
    transcript: "off", or the kind of gate (`videochat.models.gate`) before which the decoder reads what was said:
    "scalar", "position", or "open" (no gate). max_transcript_tokens: the latest so many count.
    knowledge: the same for facts retrieved for the chat (`videochat.models.retrieval`): num_facts, cut together to
    max_knowledge_tokens; chat_knowledge: the training split's comments are facts; facts_digest: of the user's own, ""
    without.
    gate_cost: what a wholly open gate costs in training, in nats a token.
    """

    model_type = "sfat"
    later = LATER

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
        pad_token_id: int = 0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.clip_dim = clip_dim
        self.width = width
        self.num_heads = num_heads
        self.num_context_layers = num_context_layers
        self.num_fusion_layers = num_fusion_layers
        self.num_decoder_layers = num_decoder_layers
        self.feed_forward_width = feed_forward_width or 4 * width
        self.dropout = dropout
        self.pooling = ALIASES.get(pooling, pooling)
        self.frame_temperature = frame_temperature
        self.learn_temperature = learn_temperature
        self.weighting = weighting
        self.aggregation = aggregation
        self.cross_attention_order = cross_attention_order
        self.max_context_comments = max_context_comments
        self.max_comment_tokens = max_comment_tokens
        self.max_response_tokens = max_response_tokens
        self.max_frames = max_frames
        for name in LATER.keys() & kwargs.keys():
            value = kwargs.pop(name)
            if value != LATER[name]:
                setattr(self, name, value)
        self._check()
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

    def _check(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{name} is {getattr(self, name)!r}", fix=f"choose one of {', '.join(known)}")
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}", fix=f"make it {least} or more")
        heads = [("width", self.width, self.num_heads, 2)]
        heads += [("width", self.width, self.num_context_heads or self.num_heads, 1)]
        if self.weighting == "learned" and self.num_video_layers and self.pooling != "none":
            heads += [("clip_dim", self.clip_dim, self.num_video_heads, 1)]
        for name, size, count, times in heads:
            if size % (times * count):
                twice = "twice the heads" if times == 2 else "the heads"
                raise UsageError(f"{name} {size} does not suit {count} heads", fix=f"a multiple of {twice}")
        if not 0 < self.frame_temperature < float("inf") or not 0 <= self.dropout < 1:
            raise UsageError(
                f"frame_temperature {self.frame_temperature}, dropout {self.dropout}",
                fix="frame_temperature > 0, 0 <= dropout < 1",
            )
        for name in ("frame_norm", "text_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)}", fix="make it more than 0")
        if not 0 <= self.gate_cost < float("inf"):
            raise UsageError(f"gate_cost is {self.gate_cost}", fix="make it 0 or more")
        self._check_together()

    def _check_together(self) -> None:
        if self.facts_digest and self.knowledge == "off":
            raise UsageError("facts were given, but knowledge is off", fix="train sfat-knowledge")
        if self.knowledge != "off" and not (self.chat_knowledge or self.facts_digest):
            raise UsageError("chat_knowledge is false and no facts were given", fix="add --set facts=FILE")
        if self.num_video_layers and self.weighting != "learned":
            raise UsageError(f"num_video_layers is {self.num_video_layers}", fix="it goes with weighting=learned")
        if self.bert and self.norm != "post":
            raise UsageError(f"bert is {self.bert!r}, but norm is pre", fix="BERT's layers need norm=post")
        longest = 2 + max(self.max_comment_tokens, self.max_response_tokens)
        if self.norm == "post" and longest > self.max_positions:
            raise UsageError(
                f"texts of {longest} tokens with begin and end, but max_positions is {self.max_positions}",
                fix="raise max_positions, or lower max_comment_tokens and max_response_tokens",
            )

    @property
    def num_hidden_layers(self) -> int:
        """The layers that generation caches."""
        return self.num_decoder_layers

    @property
    def weighs_by_chat(self) -> bool:
        """Whether the weights of the frames follow from their similarity to the comments."""
        return self.pooling in ("semantic", "max")

    @property
    def needs(self) -> frozenset[str]:
        """What a clip must hold, in the terms of `Commenter.needs`."""
        said = frozenset() if self.transcript == "off" else frozenset({"transcript"})
        if self.pooling == "none":
            return said
        if self.weighs_by_chat and self.text_tower == "stored":
            return said | {"frames", "text_embeddings"}
        return said | {"frames"}


for _name, _value in LATER.items():
    setattr(SfatConfig, _name, _value)
