"""What the configs of models with memories and a comment decoder share: checks and what transformers must be told."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from videochat.errors import UsageError


class AnsweringConfig(PretrainedConfig):
    """A subclass lists its fields in its own `__init__` and hands them on by name; whole numbers are sizes, counts or
    token ids, and none may be below 0, widths and lengths not below 1.

    Each has: vocab_size, clip_dim, width, num_heads, num_decoder_layers, feed_forward_width, dropout,
    max_context_comments, max_comment_tokens, max_response_tokens, pad_token_id, bos_token_id, eos_token_id; and
    use_video: without it the model is shown no frames, and all videos count as empty.
    """

    def __init__(self, **fields: Any) -> None:
        for name in ("is_encoder_decoder", "tie_word_embeddings", "decoder_start_token_id"):
            fields.pop(name, None)  # the output is the embedding itself, there is nothing to tie
        own = {name: fields.pop(name) for name in list(fields) if name in self.own_fields()}
        for name, value in own.items():
            least = 0 if name.endswith("_layers") else 1
            if isinstance(value, int) and not isinstance(value, bool) and not name.endswith("_id") and value < least:
                raise UsageError(f"{name} is {value}", fix=f"make it {least} or more")
            setattr(self, name, value)
        if not 0 <= own["dropout"] < 1:
            raise UsageError(f"dropout is {own['dropout']}", fix="0 <= dropout < 1")
        for width, heads in self.attention_shapes():
            if width % (2 * heads):
                raise UsageError(f"width {width} does not suit {heads} heads", fix="a multiple of twice the heads")
        special = {name: own[name] for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
        common: dict[str, Any] = {
            "is_encoder_decoder": True,
            "tie_word_embeddings": False,
            "decoder_start_token_id": own["bos_token_id"],
        }
        super().__init__(**{**common, **special, **fields})

    @classmethod
    def own_fields(cls) -> tuple[str, ...]:
        import inspect

        return tuple(name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "kwargs"))

    def attention_shapes(self) -> list[tuple[int, int]]:
        """(width, heads) of each attention, to be checked."""
        return [(self.width, self.num_heads)]

    @property
    def num_hidden_layers(self) -> int:
        """The layers that generation caches."""
        return int(self.num_decoder_layers)

    @property
    def needs(self) -> frozenset[str]:
        """What a clip must hold, in the terms of `Commenter.needs`."""
        return frozenset({"frames"}) if self.use_video else frozenset()
