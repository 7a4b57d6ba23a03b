"""What a KLVCG-style model reads besides frames: slots of chat, and knowledge retrieved for them.

    slot_ids int64 (U, L)         the comments of a slot of chat, joined: begin, tokens, end, padding
    slot_lengths int64 (U,)       slot_index int64 (B, S): rows of slot_ids     slot_mask bool (B, S): slots with chat
    knowledge_ids int64 (B, K)    knowledge_mask bool (B, K): see `videochat.models.retrieval`

The latest slot is the last of the S. Everything is a function of the view alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from videochat.commenter import ClipView

from ..batches import Collator, pad
from ..knowledge import KnowledgeStore
from ..retrieval import KnowledgeTensors
from .config import KlvcgConfig


class KnowledgeAndSlots:
    """The `extra` of a Collator."""

    def __init__(self, config: KlvcgConfig, store: KnowledgeStore) -> None:
        self.config = config
        self.knowledge = KnowledgeTensors(store, num_facts=config.num_facts, max_tokens=config.max_knowledge_tokens)

    def __call__(self, collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
        return self._slots(collator, views) | self.knowledge(collator, views)

    def _slots(self, collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
        num_slots, longest = self.config.num_slots, self.config.max_slot_tokens
        begin, end = collator.encode("", (), 0)
        rows: dict[tuple[int, ...], int] = {(begin, end): 0}
        index = np.zeros((len(views), num_slots), dtype=np.int64)
        for b, view in enumerate(views):
            said: list[list[int]] = [[] for _ in range(num_slots)]
            for comment in view.context[-collator.max_context_comments :]:
                slot = num_slots - 1 - (view.now_ms - 1 - comment.offset_ms) // self.config.slot_ms
                if slot >= 0:
                    said[slot] += collator.comment_ids(comment)[1:-1]
            for slot, tokens in enumerate(said):
                index[b, slot] = rows.setdefault((begin, *tokens[:longest], end), len(rows))
        ids, lengths = pad(list(rows))
        found = torch.from_numpy(index)
        return {"slot_ids": ids, "slot_lengths": lengths, "slot_index": found, "slot_mask": found > 0}
