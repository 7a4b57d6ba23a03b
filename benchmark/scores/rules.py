"""How a likelihood becomes a score. The official column of a model is the rule that won on dev (PROTOCOL "Score").

own     the model's own score (models without likelihoods)
sum     log p(comment), end-of-sequence included
token   the same, per token
byte    the same, per byte of the UTF-8 text and its end (one more)
null    log p(comment | clip) - log p(comment | an empty clip)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .blocks import ScoreBlock
from .tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULES = ("own", "sum", "token", "byte", "null")


def offered(block: ScoreBlock) -> tuple[str, ...]:
    """The rules that a model's scores allow, in the order in which ties on dev are decided."""
    if block.log_likelihood is None:
        return ("own",)
    rules = ["sum"]
    if block.num_tokens is not None:
        rules.append("token")
    rules.append("byte")
    if block.null_log_likelihood is not None:
        rules.append("null")
    return tuple(rules)


def apply(rule: str, block: ScoreBlock, task: Task, gather: NDArray[np.int64]) -> NDArray[np.float64]:
    """The task's scores under a rule, float64 (n, K). A likelihood of 0 stays -inf under every rule."""
    if rule == "own":
        return block.score[gather]
    assert block.log_likelihood is not None
    total = block.log_likelihood[gather]
    if rule == "sum":
        return total
    if rule == "token":
        assert block.num_tokens is not None
        return total / block.num_tokens[gather]
    if rule == "byte":
        return total / (task.num_bytes + 1)
    if rule == "null":
        assert block.null_log_likelihood is not None
        empty = block.null_log_likelihood[gather]
        impossible = np.isneginf(total)
        return np.where(impossible, -np.inf, total - np.where(impossible, 0.0, empty))
    raise ValueError(f"no score rule {rule!r}")


def choose(dev: Mapping[str, float]) -> str:
    """The rule with the best dev MRR; the first of equal ones. dev: rule -> MRR, in the order of `offered`."""
    return max(dev, key=lambda rule: dev[rule])
