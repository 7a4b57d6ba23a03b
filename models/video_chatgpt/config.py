"""What a commenter by a language model is made of: the language model by name, and what is learnt beside it.

VideoChatgptConfig(language_model="/models/vicuna", language_width=4096, clip_dim=512)
VideoChatgptConfig(frame_weighting="semantic", lora_rank=8)        # what the name `mllm` stands for
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from videochat.errors import UsageError

from ..frame_pooling import AGGREGATIONS, WEIGHTINGS

FRAME_WEIGHTINGS = ("none", "semantic")
FRAME_TEMPERATURE = 0.1  # as SFAT's, from the released code (FACTS §1)
ALL_LINEAR = "all-linear"
VICUNA = "lmsys/vicuna-7b-v1.5"  # the source puts a LLaVA-7B there, which is a tuned Vicuna (FACTS §4)


class VideoChatgptConfig(PretrainedConfig):
    """Fields

    language_model: a causal language model of transformers, a local folder, a name of the hub, or "chat:<digest>" for a
    small one made from the training split's chat; language_digest: of its weights when the adapter was trained;
    language_width: of its hidden states. clip_dim: of the CLIP features.
    frame_weighting: "none", or "semantic": SFAT's weights of the frames, each as a share of the greatest, scale the
    frames before the adapter; frame_temperature, weighting, aggregation: as SFAT's. num_frame_tokens: only so many
    frames, those of the greatest weights, become tokens (0: all).
    lora_rank: of the low-rank changes that the language model's layers learn (0: none, the adapter alone learns);
    lora_alpha: their scale times the rank; lora_targets: "all-linear", or ends of names of layers with commas between.
    lora_shapes: layer -> [inputs, outputs] of those that have them; not the user's, it follows from the model.
    max_context_comments: the latest so many count; max_comment_tokens, max_response_tokens: longer ones are cut.
    """

    model_type = "video-chatgpt-style"

    def __init__(
        self,
        vocab_size: int = 0,
        clip_dim: int = 64,
        language_model: str = VICUNA,
        language_digest: str = "",
        language_width: int = 1,
        frame_weighting: str = "none",
        frame_temperature: float = FRAME_TEMPERATURE,
        weighting: str = "cosine",
        aggregation: str = "sum",
        num_frame_tokens: int = 0,
        lora_rank: int = 0,
        lora_alpha: float = 16.0,
        lora_targets: str = ALL_LINEAR,
        max_context_comments: int = 15,
        max_comment_tokens: int = 24,
        max_response_tokens: int = 48,
        **kwargs: Any,
    ) -> None:
        for name, size, least in (
            ("language_width", language_width, 1),
            ("num_frame_tokens", num_frame_tokens, 0),
            ("lora_rank", lora_rank, 0),
            ("max_context_comments", max_context_comments, 1),
            ("max_comment_tokens", max_comment_tokens, 1),
            ("max_response_tokens", max_response_tokens, 1),
        ):
            if size < least:
                raise UsageError(f"{name} is {size}", fix=f"make it {least} or more")
        for name, value, known in (
            ("frame_weighting", frame_weighting, FRAME_WEIGHTINGS),
            ("weighting", weighting, WEIGHTINGS),
            ("aggregation", aggregation, AGGREGATIONS),
        ):
            if value not in known:
                raise UsageError(f"{name} is {value!r}", fix=f"choose one of {', '.join(known)}")
        for name, number in (("frame_temperature", frame_temperature), ("lora_alpha", lora_alpha)):
            if not 0 < number < float("inf"):
                raise UsageError(f"{name} is {number}", fix="make it more than 0")
        if num_frame_tokens and frame_weighting == "none":
            raise UsageError(
                f"num_frame_tokens is {num_frame_tokens}, but no weights choose the frames",
                fix="add --set frame_weighting=semantic, or --set num_frame_tokens=0",
            )
        self.vocab_size = vocab_size
        self.clip_dim = clip_dim
        self.language_model = language_model
        self.language_digest = language_digest
        self.language_width = language_width
        self.frame_weighting = frame_weighting
        self.frame_temperature = frame_temperature
        self.weighting = weighting
        self.aggregation = aggregation
        self.num_frame_tokens = num_frame_tokens
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.lora_targets = lora_targets
        self.lora_shapes: dict[str, list[int]] = kwargs.pop("lora_shapes", {})
        self.max_context_comments = max_context_comments
        self.max_comment_tokens = max_comment_tokens
        self.max_response_tokens = max_response_tokens
        super().__init__(**kwargs)

    @property
    def needs(self) -> frozenset[str]:
        """What a clip must hold, in the terms of `Commenter.needs`."""
        return frozenset({"frames", "text_embeddings"} if self.frame_weighting == "semantic" else {"frames"})
