"""Which frames count: SFAT's semantic frame weighting and its ablations (seed: mechanism 1; FACTS §1, §9).

weights = softmax over frames of (sum over comments of similarity(frame, comment)) / temperature

`semantic` that softmax; `max` its limit, the one most similar frame; `mean` equal weights; `oracle` equal weights on
the frames of the clip's focal event (simulated data only). Without context comments `semantic` is the mean, as all
similarities are zero. `attention` is learned from scratch instead: a query from the chat's own encoding against keys
from the frames, in the model. With the aggregation "each" there is a softmax for every comment (FACTS §1: the released
code), and a frame's weight is the mean of them.

Legend: B clips, N frames, C context comments, D width of CLIP.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POOLINGS = ("semantic", "mean", "max", "attention", "none", "all", "oracle")
ALIASES = {"uniform": "mean"}
WEIGHTINGS = ("cosine", "dot", "learned")
AGGREGATIONS = ("sum", "mean", "recency", "each")
HALF_LIFE_COMMENTS = 5  # aggregation "recency": a comment counts half as much as one 5 places later (our choice)


def similarity(
    frames_BND: Tensor, comments_BCD: Tensor, comment_mask_BC: Tensor, *, weighting: str, aggregation: str
) -> Tensor:
    """Similarity of each frame to the context (B, N). Comments are in order of time, the latest last.

    weighting: "cosine" normalises both sides, "dot" takes the vectors as they are. aggregation: "sum" or "mean" over
    comments, or "recency": a mean with weights that halve every HALF_LIFE_COMMENTS places, times the number of
    comments.
    """
    if weighting == "cosine":
        frames_BND, comments_BCD = F.normalize(frames_BND, dim=-1), F.normalize(comments_BCD, dim=-1)
    real_BC = comment_mask_BC.to(frames_BND.dtype)
    count_B1 = real_BC.sum(1, keepdim=True)
    if aggregation == "recency":
        age_BC = count_B1 - real_BC.cumsum(1)  # 0 for the latest comment
        decay_BC = real_BC * 0.5 ** (age_BC / HALF_LIFE_COMMENTS)
        weight_BC = decay_BC * count_B1 / decay_BC.sum(1, keepdim=True).clamp(min=1e-9)
    elif aggregation == "mean":
        weight_BC = real_BC / count_B1.clamp(min=1)
    else:
        weight_BC = real_BC
    context_BD = torch.einsum("bcd,bc->bd", comments_BCD, weight_BC)  # the sum of products is the product of the sum
    return torch.einsum("bnd,bd->bn", frames_BND, context_BD)


def attention_weights(query_BW: Tensor, keys_BNW: Tensor, mask_BN: Tensor) -> Tensor:
    """Scaled dot-product attention of one query over the frames (B, N) (Vaswani et al. 2017, §3.2.1)."""
    logits_BN = torch.einsum("bnw,bw->bn", keys_BNW, query_BW) / keys_BNW.shape[-1] ** 0.5
    return masked_softmax(logits_BN, mask_BN)


def masked_softmax(logits_BN: Tensor, mask_BN: Tensor) -> Tensor:
    """Softmax over the real frames; all zero where there is none."""
    lowest = torch.finfo(logits_BN.dtype).min
    weights = torch.softmax(logits_BN.masked_fill(~mask_BN, lowest), dim=-1)
    return weights * mask_BN


def weights_of_each(similarity_BNC: Tensor, mask_BN: Tensor, comment_mask_BC: Tensor) -> Tensor:
    """For each comment a softmax over the real frames (B, N, C); 0 for an absent comment and in a clip without frames.

    similarity_BNC: of each frame to each comment, over the temperature.
    """
    real_BNC = mask_BN[:, :, None] & comment_mask_BC[:, None, :]
    lowest = torch.finfo(similarity_BNC.dtype).min
    return torch.softmax(similarity_BNC.masked_fill(~mask_BN[:, :, None], lowest), dim=1) * real_BNC


def mean_over_comments(weights_BNC: Tensor, mask_BN: Tensor, comment_mask_BC: Tensor) -> Tensor:
    """The mean of the comments' weights (B, N); without a comment every frame counts alike."""
    count_B1 = comment_mask_BC.sum(1, keepdim=True)
    mean_BN = weights_BNC.sum(-1) / count_B1.clamp(min=1)
    return torch.where(count_B1 > 0, mean_BN, uniform_weights(mask_BN))


def uniform_weights(mask_BN: Tensor) -> Tensor:
    """1/n on each of the n real frames."""
    real = mask_BN.float()
    return real / real.sum(-1, keepdim=True).clamp(min=1)


def frame_weights(
    pooling: str,
    frames_BND: Tensor,
    frame_mask_BN: Tensor,
    comments_BCD: Tensor | None,
    comment_mask_BC: Tensor,
    *,
    temperature: Tensor | float,
    weighting: str = "cosine",
    aggregation: str = "sum",
    focal_mask_BN: Tensor | None = None,
) -> Tensor:
    """Weights of the frames (B, N): they sum to 1 for a clip with frames, to 0 for one without."""
    if pooling == "oracle":
        assert focal_mask_BN is not None, "oracle pooling needs the frames of the focal event"
        focal = focal_mask_BN & frame_mask_BN
        return torch.where(focal.any(-1, keepdim=True), uniform_weights(focal), uniform_weights(frame_mask_BN))
    if pooling in ("mean", "all"):
        return uniform_weights(frame_mask_BN)
    assert comments_BCD is not None, f"{pooling} pooling needs the text embeddings of the context"
    if aggregation == "each" and pooling == "semantic":
        if weighting == "cosine":
            frames_BND, comments_BCD = F.normalize(frames_BND, dim=-1), F.normalize(comments_BCD, dim=-1)
        each_BNC = weights_of_each(
            frames_BND @ comments_BCD.transpose(1, 2) / temperature, frame_mask_BN, comment_mask_BC
        )
        return mean_over_comments(each_BNC, frame_mask_BN, comment_mask_BC)
    logits = similarity(frames_BND, comments_BCD, comment_mask_BC, weighting=weighting, aggregation=aggregation)
    if pooling == "max":
        best = logits.masked_fill(~frame_mask_BN, torch.finfo(logits.dtype).min).argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, best, 1.0) * frame_mask_BN
    return masked_softmax(logits / temperature, frame_mask_BN)
