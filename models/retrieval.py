"""What a model reads of a store of knowledge: the facts found for a clip, as tokens; and the user's own file of facts.

    collator.extra = KnowledgeTensors(store_of(config, context, name), num_facts=8, max_tokens=80)

    knowledge_ids int64 (B, K)    the retrieved facts, joined: begin, tokens, end, tokens, end, ..., padding
    knowledge_mask bool (B, K)    all False for a clip for which nothing is found

Everything is a function of the view alone. A config whose model reads knowledge has `num_facts`,
`max_knowledge_tokens`, `chat_knowledge` and `facts_digest` (see `videochat.models.klvcg.config`).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videochat.commenter import ClipView, LoadContext
from videochat.errors import Damaged
from videochat.files import atomic_path, digest_file

from . import checkpoint
from .batches import Collator, pad
from .knowledge import KnowledgeStore, chat_facts, read_facts


class KnowledgeTensors:
    """An `extra` of a Collator. Retrieval is done once for each view that comes again."""

    def __init__(self, store: KnowledgeStore, *, num_facts: int, max_tokens: int) -> None:
        self.store, self.num_facts, self.max_tokens = store, num_facts, max_tokens
        self._known: dict[tuple[str, str, tuple[str, ...]], tuple[int, ...]] = {}

    def __call__(self, collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
        latest = collator.max_context_comments
        views = [dataclasses.replace(view, context=view.context[-latest:]) for view in views]
        keys = [(v.recording_id, v.category, tuple(c.text for c in v.context)) for v in views]
        new = {key: view for key, view in zip(keys, views, strict=True) if key not in self._known}
        texts = self.store.retrieve(list(new.values()), num_facts=self.num_facts)
        for key, facts in zip(new, texts, strict=True):
            self._known[key] = self._joined(collator, facts)
        rows = [self._known[key] for key in keys]
        ids, lengths = pad([row or (0,) for row in rows])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        return {"knowledge_ids": ids, "knowledge_mask": mask & torch.tensor([[bool(row)] for row in rows])}

    def _joined(self, collator: Collator, facts: Sequence[str]) -> tuple[int, ...]:
        ids: list[int] = []
        for fact in facts:
            ids += collator.encode(fact, (), self.max_tokens)[0 if not ids else 1 :]
        return tuple(ids[: self.max_tokens])


def facts_path(folder: Path, digest: str) -> Path:
    return folder / f"facts-{digest[:12]}.jsonl"


def keep_facts(context: LoadContext) -> LoadContext:
    """The option `facts` names a file of facts: the checkpoint keeps a copy, and its digest takes the option's place.

    Raises UsageError where a line of the file is no fact.
    """
    options = dict(context.options)
    if file := options.pop("facts", None):
        path = Path(str(file)).expanduser()
        read_facts(path)
        options["facts_digest"] = digest_file(path)
        context.checkpoint.mkdir(parents=True, exist_ok=True)
        with atomic_path(facts_path(context.checkpoint, options["facts_digest"])) as temporary:
            shutil.copyfile(path, temporary)
    return dataclasses.replace(context, options=options)


def store_of(config: Any, context: LoadContext, name: str) -> KnowledgeStore:
    """The training split's comments, and the user's own facts as the checkpoint of the model `name` keeps them."""
    facts = chat_facts(context.dataset.clips("train")) if config.chat_knowledge else []
    if config.facts_digest:
        path = facts_path(context.checkpoint, config.facts_digest)
        if not path.is_file() or digest_file(path) != config.facts_digest:
            fix = checkpoint.train_line(name, context) + " with --set facts=FILE"
            raise Damaged(f"{path} is missing or was changed after the training", fix=fix)
        facts += read_facts(path)
    return KnowledgeStore(facts)
