"""What a KLVCG-style model reads besides frames: slots of chat, and knowledge retrieved for them.

    slot_ids int64 (U, L)         the comments of a slot of chat, joined: begin, tokens, end, padding
    slot_lengths int64 (U,)       slot_index int64 (B, S): rows of slot_ids     slot_mask bool (B, S): slots with chat
    knowledge_ids int64 (B, K)    the retrieved facts, joined: begin, tokens, end, tokens, end, ..., padding
    knowledge_mask bool (B, K)

The latest slot is the last of the S. Everything is a function of the view alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from videochat.commenter import ClipView

from ..batches import Collator, pad
from ..tokenizer import BOS, EOS
from .config import KlvcgConfig
from .knowledge import KnowledgeStore


class KnowledgeAndSlots:
    """The `extra` of a Collator. Retrieval is done once for each view that comes again."""

    def __init__(self, config: KlvcgConfig, store: KnowledgeStore) -> None:
        self.config = config
        self.store = store
        self._known: dict[tuple[str, str, tuple[str, ...]], tuple[int, ...]] = {}

    def __call__(self, collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
        return self._slots(collator, views) | self._knowledge(collator, views)

    def _slots(self, collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
        num_slots, longest = self.config.num_slots, self.config.max_slot_tokens
        rows: dict[tuple[int, ...], int] = {(BOS, EOS): 0}
        index = np.zeros((len(views), num_slots), dtype=np.int64)
        for b, view in enumerate(views):
            said: list[list[int]] = [[] for _ in range(num_slots)]
            for comment in view.context[-collator.max_context_comments :]:
                slot = num_slots - 1 - (view.now_ms - 1 - comment.offset_ms) // self.config.slot_ms
                if slot >= 0:
                    said[slot] += collator.comment_ids(comment)[1:-1]
            for slot, tokens in enumerate(said):
                index[b, slot] = rows.setdefault((BOS, *tokens[:longest], EOS), len(rows))
        ids, lengths = pad(list(rows))
        found = torch.from_numpy(index)
        return {"slot_ids": ids, "slot_lengths": lengths, "slot_index": found, "slot_mask": found > 0}

    def _knowledge(self, collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
        latest = collator.max_context_comments
        views = [dataclasses.replace(view, context=view.context[-latest:]) for view in views]
        keys = [(v.recording_id, v.category, tuple(c.text for c in v.context)) for v in views]
        new = {key: view for key, view in zip(keys, views, strict=True) if key not in self._known}
        texts = self.store.retrieve(list(new.values()), num_facts=self.config.num_facts)
        for key, facts in zip(new, texts, strict=True):
            self._known[key] = self._joined(collator, facts)
        rows = [self._known[key] for key in keys]
        ids, lengths = pad([row or (0,) for row in rows])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        return {"knowledge_ids": ids, "knowledge_mask": mask & torch.tensor([[bool(row)] for row in rows])}

    def _joined(self, collator: Collator, facts: Sequence[str]) -> tuple[int, ...]:
        ids: list[int] = []
        for fact in facts:
            ids += collator.encode(fact, (), self.config.max_knowledge_tokens)[0 if not ids else 1 :]
        return tuple(ids[: self.config.max_knowledge_tokens])
