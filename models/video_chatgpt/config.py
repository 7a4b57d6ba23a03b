"""What a Video-ChatGPT-style commenter is made of: a language model by name, and one linear layer in front of it.

VideoChatgptConfig(language_model="/models/vicuna", language_width=4096, clip_dim=512)
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from videochat.errors import UsageError

VICUNA = "lmsys/vicuna-7b-v1.5"  # the source puts a LLaVA-7B there, which is a tuned Vicuna (FACTS §4)


class VideoChatgptConfig(PretrainedConfig):
    """Fields

    language_model: a causal language model of transformers, a local folder, a name of the hub, or "chat:<digest>" for a
    small one made from the training split's chat; language_digest: of its weights when the adapter was trained;
    language_width: of its hidden states. clip_dim: of the CLIP features.
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
        max_context_comments: int = 15,
        max_comment_tokens: int = 24,
        max_response_tokens: int = 48,
        **kwargs: Any,
    ) -> None:
        for name, size in (
            ("language_width", language_width),
            ("max_context_comments", max_context_comments),
            ("max_comment_tokens", max_comment_tokens),
            ("max_response_tokens", max_response_tokens),
        ):
            if size < 1:
                raise UsageError(f"{name} is {size}", fix="make it 1 or more")
        self.vocab_size = vocab_size
        self.clip_dim = clip_dim
        self.language_model = language_model
        self.language_digest = language_digest
        self.language_width = language_width
        self.max_context_comments = max_context_comments
        self.max_comment_tokens = max_comment_tokens
        self.max_response_tokens = max_response_tokens
        super().__init__(**kwargs)

    @property
    def needs(self) -> frozenset[str]:
        """What a clip must hold, in the terms of `Commenter.needs`."""
        return frozenset({"frames"})
