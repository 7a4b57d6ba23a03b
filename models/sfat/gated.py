"""The gates before the memories that may help or harm: what was said (`sfat-audio`), what is known (`sfat-knowledge`).

Legend: B clips, S packed tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..answering import AnsweringModel
from ..encoder import SummedLoss
from ..gate import Gate, recorded

TRANSCRIPT, KNOWLEDGE = 2, 3  # the memories that are read last, through a gate
STREAMS = {"transcript": TRANSCRIPT, "knowledge": KNOWLEDGE}  # field of the configuration -> memory


class GatedModel(AnsweringModel):
    """An AnsweringModel some of whose memories lie behind gates. memory_order: the decoder's memories as it reads
    them."""

    memory_order: list[int]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As `AnsweringModel.forward`; in training an open gate costs `gate_cost` a token."""
        gates = self._gates()
        if not (self.training and gates and self.config.gate_cost and kwargs.get("response_ids") is not None):
            return super().forward(*args, **kwargs)
        with recorded(gates) as found:
            loss, num_tokens = super().forward(*args, **kwargs)
        return SummedLoss(loss + self.config.gate_cost * torch.cat(found, -1).mean(-1).sum(), num_tokens)

    @property
    def has_gate(self) -> bool:
        return bool(self._gates())

    def _gates(self, stream: str = "") -> list[Gate]:
        """Of all streams, or of the one that is named: "transcript" or "knowledge"."""
        if not stream:
            return [module for module in self.decoder.modules() if isinstance(module, Gate)]
        if STREAMS[stream] not in self.memory_order:
            return []
        place = str(self.memory_order.index(STREAMS[stream]))
        layers: list[Any] = list(self.decoder.layers)
        return [layer.gates[place] for layer in layers]

    def gate_means(
        self,
        batch: dict[str, Tensor],
        response_ids: Tensor,
        response_lengths: Tensor,
        response_clip: Tensor,
        *,
        stream: str = "",
    ) -> Tensor:
        """For each clip (B,) how far its gate is open, in [0, 1]: the mean over layers and tokens of its responses
        (see `token_log_probs`) and, where none is named, over its streams; 0 where a stream holds nothing, NaN where a
        clip has no response. Without gradients."""
        with torch.no_grad(), recorded(self._gates(stream)) as found:
            encoding = self.encode(batch)
            _, response_S = self.token_log_probs(encoding, response_ids, response_lengths, response_clip)
        assert found, "the model has a gate"
        clip_S = response_clip[response_S]
        total_B = torch.zeros(len(batch["comment_mask"]), dtype=torch.float64, device=clip_S.device)
        values_S = torch.cat(found, -1).double().mean(-1)
        return total_B.index_add(0, clip_S, values_S) / torch.bincount(clip_S, minlength=len(total_B))
