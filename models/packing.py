"""Sequences of different lengths without padding: laid end to end, sorted by length, attended length by length.

Linear layers then work on real tokens only, and self-attention runs once for each distinct length on a plain view
(FACTS §7: length buckets, the LM head on real tokens only). As no padding exists, none can change a result.

    packing = pack([3, 1, 3])           # order 1, 0, 2; groups (1 sequence of 1), (2 sequences of 3)
    ids_S = padded_UL.flatten()[packing.source(padded_UL.shape[1])]

Legend: S tokens of a packing, U sequences, L padded length, H heads, E width of a head, B clips, Q queries of a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .attention import dot_product_attention


@dataclass(frozen=True, eq=False)
class Packing:
    """Where each token of the packed axis comes from. All tensors int64.

    groups: (number of sequences, length) for each distinct length, ascending; sequence_S, position_S: the sequence
    (its index before sorting) and the place in it of each token; first_U, last_U: the packed index of the first and
    last token of each sequence, in the order before sorting.
    """

    groups: tuple[tuple[int, int], ...]
    sequence_S: Tensor
    position_S: Tensor
    first_U: Tensor
    last_U: Tensor

    def source(self, padded_length: int) -> Tensor:
        """(S,) indices into a flattened (U, padded_length) array."""
        return self.sequence_S * padded_length + self.position_S


def pack(lengths: Sequence[int], device: torch.device | str = "cpu") -> Packing:
    """Plan a packing of sequences with these lengths, each at least 1."""
    sizes = np.asarray(lengths, dtype=np.int64)
    assert sizes.size and sizes.min() > 0, "every sequence holds at least its begin token"
    order = np.argsort(sizes, kind="stable")
    ordered = sizes[order]
    starts = np.concatenate([[0], np.cumsum(ordered)[:-1]])
    first = np.empty_like(starts)
    first[order] = starts
    distinct, counts = np.unique(ordered, return_counts=True)
    arrays = (
        np.repeat(order, ordered),
        np.arange(ordered.sum()) - np.repeat(starts, ordered),
        first,
        first + sizes - 1,
    )
    sequence, position, first_index, last_index = (torch.from_numpy(array).to(device) for array in arrays)
    groups = tuple(zip(counts.tolist(), distinct.tolist(), strict=True))
    return Packing(groups, sequence, position, first_index, last_index)


def attend_within(query_SHE: Tensor, key_SHE: Tensor, value_SHE: Tensor, packing: Packing, *, causal: bool) -> Tensor:
    """Self-attention inside each sequence of a packing -> (S, H, E)."""
    outputs, start = [], 0
    for count, length in packing.groups:
        end = start + count * length
        if length == 1:  # one token attends to itself: the output is its value
            outputs.append(value_SHE[start:end])
        else:
            query, key, value = (
                x[start:end].unflatten(0, (count, length)).transpose(1, 2) for x in (query_SHE, key_SHE, value_SHE)
            )
            out = dot_product_attention(query, key, value, causal=causal)
            outputs.append(out.transpose(1, 2).flatten(0, 1))
        start = end
    return torch.cat(outputs)


@dataclass(frozen=True, eq=False)
class Fold:
    """The packed tokens of all candidates of a clip as one query axis.

    gather_BQ: packed index of each query (0 where the clip has fewer); valid_BQ; place_S: index of each packed token
    in the flattened (B, Q) array.
    """

    gather_BQ: Tensor
    valid_BQ: Tensor
    place_S: Tensor


def fold(clip_S: Tensor, num_clips: int) -> Fold:
    """clip_S: int64, the clip of each packed token. A clip may have none."""
    owner = clip_S.cpu().numpy()
    counts = np.bincount(owner, minlength=num_clips)
    width = max(int(counts.max()), 1)
    order = np.argsort(owner, kind="stable")
    column = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    gather = np.zeros((num_clips, width), dtype=np.int64)
    gather[owner[order], column] = order
    place = np.empty(len(owner), dtype=np.int64)
    place[order] = owner[order] * width + column
    valid = np.arange(width) < counts[:, None]
    gather_BQ, valid_BQ, place_S = (torch.from_numpy(x).to(clip_S.device) for x in (gather, valid, place))
    return Fold(gather_BQ, valid_BQ, place_S)


class _Rearrange(torch.autograd.Function):
    """rows[index], where `inverse` undoes it: the gradient is a gather as well, so it is fast and deterministic."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, inverse: Tensor, valid: Tensor | None) -> Tensor:
        ctx.inverse, ctx.valid = inverse, valid
        return rows[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0][ctx.inverse]
        if ctx.valid is not None:
            gradient = gradient * ctx.valid.view(-1, *[1] * (gradient.dim() - 1))
        return gradient, None, None, None


def attend_folded(query_SHE: Tensor, attend: Callable[[Tensor], Tensor], folding: Fold) -> Tensor:
    """Cross-attention of packed tokens, clip by clip: `attend` maps (B, H, Q, E) to the same shape -> (S, H, E)."""
    if folding.gather_BQ.shape[0] == 1:
        return attend(query_SHE.transpose(0, 1)[None])[0].transpose(0, 1)
    num_clips, width = folding.gather_BQ.shape
    flat = _Rearrange.apply(query_SHE, folding.gather_BQ.flatten(), folding.place_S, None)
    out = attend(flat.unflatten(0, (num_clips, width)).transpose(1, 2)).transpose(1, 2).flatten(0, 1)
    return _Rearrange.apply(out, folding.place_S, folding.gather_BQ.flatten(), folding.valid_BQ.flatten())
