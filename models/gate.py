"""A learned gate on one memory of the decoder: how far what is read there enters, from 0 (not at all) to 1.

A stream that may help or harm (speech, retrieved knowledge) is read through a cross-attention of its own; the gate
multiplies what came of it. It begins half open, where its slope is greatest, so training can open or close it. A clip
that has nothing in that memory gets exactly 0: it is answered as if the stream did not exist.

Source: open question 1 of the paper (arXiv 2510.26978): integrating audio made results worse, dropping it helped.
The form is ours; multiplying a cross-attention by a learned scalar is known from Flamingo (Alayrac et al. 2022, §2.2,
there a tanh that starts at 0).

Legend: S packed tokens or (B, T), B clips, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

GATES = ("open", "scalar", "position")
# The logit's bias is this times its parameter. Adam moves a parameter by at most the learning rate a step: in the
# sample world's 192 steps of at most 2e-3 that is about 0.2, and the gate has to be able to get from 0.5 to 0.02.
STEEPNESS = 20.0


class Gate(nn.Module):
    """kind "scalar": one value for the layer; "position": one for each token, from its state and from what it read;
    "open": always 1, the stream without a gate."""

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        assert kind in GATES, kind
        self.bias = None if kind == "open" else nn.Parameter(torch.zeros(1))
        self.weight = nn.Parameter(torch.zeros(2 * width)) if kind == "position" else None

    def forward(self, state: Tensor, read: Tensor, present: Tensor) -> Tensor:
        """state, read: (..., W); present: bool (..., 1), whether the memory holds anything -> (..., 1) in [0, 1]."""
        if self.bias is None:
            return present.to(state.dtype).expand(*state.shape[:-1], 1)
        logit = STEEPNESS * self.bias
        if self.weight is not None:
            logit = logit + (torch.cat([state, read], -1) * self.weight).sum(-1, keepdim=True)
        return torch.sigmoid(logit).expand(*state.shape[:-1], 1) * present


@contextmanager
def recorded(gates: list[Gate]) -> Iterator[list[Tensor]]:
    """What these gates give inside the block, in the order of their use, each (..., 1)."""
    found: list[Tensor] = []
    handles = [gate.register_forward_hook(lambda _module, _given, value: found.append(value)) for gate in gates]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
