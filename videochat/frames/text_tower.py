"""The text side of a CLIP: tokenise once per unique text, sort by length, run no padding that cannot matter.

Where the tower is causal and pools at the end-of-text token, later positions cannot reach the pooled vector, so a
batch is cut to its longest text: exact up to float rounding, and 7 times faster on chat (FACTS §7: 68 against 506
texts/s). Other towers (bidirectional, class token, padding mask) run at full length through open_clip itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXT_BATCH = 256


class TextTower:
    def __init__(self, model: Any, tokenizer: Any, device: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._tower = getattr(model, "text", model)
        self.context_length = int(getattr(model, "context_length", 0) or tokenizer.context_length)

    @property
    def tokenizer_digest(self) -> str:
        """SHA-256, hex, of the tokenizer's whole definition, not of its name."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        if inner is not None and hasattr(inner, "backend_tokenizer"):
            text = inner.backend_tokenizer.to_str()
        else:
            known = self._tokenizer
            ranked = sorted(known.bpe_ranks, key=known.bpe_ranks.__getitem__)
            tokens = sorted(known.encoder, key=known.encoder.__getitem__)
            text = "\n".join([*tokens, *(" ".join(pair) for pair in ranked)])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def pooling(self) -> str:
        return str(getattr(self._tower, "text_pool_type", None) or getattr(self._tower, "pool_type", ""))

    @property
    def trims(self) -> bool:
        """True if cutting after the end-of-text token is exact: causal mask, pooled there, nothing appended."""
        tower = self._tower
        return (
            self.pooling in ("argmax", "eos")
            and getattr(tower, "attn_mask", None) is not None
            and getattr(tower, "cls_emb", None) is None
            and not getattr(tower, "use_pad_mask", False)
            and all(hasattr(tower, name) for name in ("token_embedding", "positional_embedding", "ln_final"))
        )

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """int64 (n, context_length)."""
        ids: torch.Tensor = self._tokenizer(list(texts), context_length=self.context_length)
        return ids.long()

    def ends(self, ids_NL: torch.Tensor) -> torch.Tensor:
        """Position of the end-of-text token of each row, where the tower pools: int64 (n,)."""
        if self.pooling == "eos":
            end = int(getattr(self._tower, "text_eos_id", None) or self._tower.eos_id)
            return (ids_NL == end).int().argmax(dim=-1)
        return ids_NL.argmax(dim=-1)

    def encode(
        self, texts: Sequence[str], finish: Callable[[torch.Tensor], NDArray[np.float16]]
    ) -> NDArray[np.float16]:
        """Embed unique texts in batches of similar length; `finish` turns a batch's raw features into rows."""
        unique = sorted(set(texts))
        if not unique:
            return np.empty((0, finish(self._features(self.tokens(["a"]))).shape[1]), np.float16)
        ids_NL = self.tokens(unique)
        lengths = self.ends(ids_NL) + 1
        order = torch.argsort(lengths, stable=True)
        parts = []
        for begin in range(0, len(order), TEXT_BATCH):
            rows = order[begin : begin + TEXT_BATCH]
            longest = int(lengths[rows].max()) if self.trims else ids_NL.shape[1]
            parts.append(finish(self._features(ids_NL[rows, :longest])))
        found = np.concatenate(parts)
        place = {unique[row]: index for index, row in enumerate(order.tolist())}
        return found[[place[text] for text in texts]]

    def _features(self, ids_NL: torch.Tensor) -> torch.Tensor:
        ids_NL = ids_NL.to(self._device)
        if not self.trims:
            full: torch.Tensor = self._model.encode_text(ids_NL)
            return full
        tower, length = self._tower, ids_NL.shape[1]
        kind = tower.transformer.get_cast_dtype()
        x_NLD = tower.token_embedding(ids_NL).to(kind) + tower.positional_embedding[:length].to(kind)
        x_NLD = tower.ln_final(tower.transformer(x_NLD, attn_mask=tower.attn_mask[:length, :length]))
        pooled: torch.Tensor = x_NLD[torch.arange(len(ids_NL), device=ids_NL.device), self.ends(ids_NL)]
        projection = tower.text_projection
        if projection is None:
            return pooled
        projected: torch.Tensor = projection(pooled) if isinstance(projection, torch.nn.Module) else pooled @ projection
        return projected
