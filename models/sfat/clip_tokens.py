"""What a CLIP text tower inside the model reads: CLIP's own token ids of the context comments.

    clip_ids int64 (V, L)  CLIP tokens of distinct comments, padded with 0 after the end      clip_index int64 (B, C)

CLIP's attention is causal and its vector is that of the end token, so what follows the end changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from videochat.commenter import ClipView

from ..batches import Collator, pad

CLIP_TOKENS = 10  # begin and end included, as the released code cuts (FACTS §1)
ClipEncode = Callable[[str], tuple[int, ...]]


def add_clip_tokens(encode: ClipEncode) -> Callable[[Collator, Sequence[ClipView]], dict[str, Tensor]]:
    """The `extra` of a Collator. encode: text -> CLIP's token ids with begin and end."""

    def extra(collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
        contexts = [view.context[-collator.max_context_comments :] for view in views]
        rows: dict[tuple[int, ...], int] = {}
        index = torch.zeros(len(views), max(1, *map(len, contexts), 1), dtype=torch.int64)
        for b, context in enumerate(contexts):
            for c, comment in enumerate(context):
                index[b, c] = rows.setdefault(encode(comment.text), len(rows))
        if not rows:
            rows[encode("")] = 0
        return {"clip_index": index, "clip_ids": pad(list(rows))[0]}

    return extra


def clip_encoder() -> ClipEncode:
    """CLIP's byte-pair tokens as open_clip ships them, cut to CLIP_TOKENS with the end token kept."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()

    def encode(text: str) -> tuple[int, ...]:
        tokens = tokenizer.encode(text)[: CLIP_TOKENS - 2]
        return (tokenizer.sot_token_id, *tokens, tokenizer.eot_token_id)

    return encode
