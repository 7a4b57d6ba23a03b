"""Models that only choose or order: an API, a large multimodal model. Asked in several orders, mean rank as score.

    class Chooser:
        name = "chooser"
        needs = frozenset()
        def rank(self, clip, texts):        # best first: positions in texts from 0; one position alone is a choice
            return sorted(range(len(texts)), key=lambda i: -len(texts[i]))

`rank` is asked NUM_ORDERS times for each clip and set, the candidates in another seeded order each time. What it does
not name shares the ranks that are left; an answer that cannot be read is a tie of all and counted. A string is read as
people write: letters (A is the first) or numbers from 1, "B", "2", "C > A > B", "3, 1, 2". The score is minus the mean
rank. Where the first choices stood tells of position bias: the orders are random, so a model that reads the texts
chooses each position alike, whatever it prefers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy.special import chdtrc, ndtr

from videochat.commenter import Chooser, ClipScores, ClipView, TextTable
from videochat.errors import UsageError
from videochat.files import stable_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_ORDERS = 3
MAX_ANSWER = 2_000  # characters; a longer one is no list of positions
_LEAD = re.compile(
    r"\W*(the\s+)?(my\s+|final\s+|best\s+)*(answer|choice|option|order|ranking)s?\s*(is|are|:|=|\s)*", re.I
)
_TOKENS = {"numbers": r"\d{1,6}", "letters": r"[A-Za-z]"}
_SEPARATED = {
    kind: re.compile(rf"[\s(\[*\"']*{token}([\s,;>.)(\]\[*]+{token})*[\s.)\]*\"']*") for kind, token in _TOKENS.items()
}


@dataclass(eq=False)
class Asked:
    """A Commenter made of a Chooser. After scoring, `facts()` tells how it answered.

    It looks at all candidates at once (`by_set`), so each set is scored on its own, and it offers one rule, so the dev
    split, which chooses among rules, is not asked (`needs_dev`).
    """

    chooser: Chooser
    seed: int = 0
    num_orders: int = NUM_ORDERS
    by_set: bool = True
    needs_dev: bool = False
    name: str = field(init=False)
    needs: frozenset[str] = field(init=False)
    num_asked: int = 0
    num_unparsable: int = 0
    num_partial: int = 0
    first: list[tuple[int, int]] = field(default_factory=list)  # (position of the first choice from 0, K)
    _seen: set[tuple[str, tuple[int, ...], int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.num_orders < 1:
            raise UsageError(f"{self.num_orders} orders", fix="1 or more")
        self.name, self.needs = self.chooser.name, frozenset(self.chooser.needs)
        digest = getattr(self.chooser, "checkpoint_digest", None)
        self.checkpoint_digest = digest if isinstance(digest, str) else None

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        return [self._one(clip, ids, texts) for clip, ids in zip(clips, candidates, strict=True)]

    def _one(self, clip: ClipView, ids: Sequence[int], texts: TextTable) -> ClipScores:
        total = np.zeros(len(ids))
        for turn in range(self.num_orders):
            order = seeded_order(self.seed, clip.clip_id, ids, turn)
            answer = self.chooser.rank(clip, [texts.texts[ids[i]] for i in order])
            found = parse_order(answer, len(ids))
            self.num_asked += 1
            if found is None:
                self.num_unparsable += 1
            else:
                self.num_partial += len(found) < len(ids)
                # a clip with swapped frames or chat is asked in the same order: no independent draw of a position
                if (question := (clip.clip_id, tuple(ids), turn)) not in self._seen:
                    self._seen.add(question)
                    self.first.append((found[0], len(ids)))
            total[order] += ranks_of(found, len(ids))
        return ClipScores(score=-total / self.num_orders)

    def facts(self) -> dict[str, Any]:
        """For run.json: orders, asked, unparsable, partial, and the position bias of the first choice."""
        counts = {"orders": self.num_orders, "asked": self.num_asked}
        counts |= {"unparsable": self.num_unparsable, "partial": self.num_partial}
        return counts | {"first_choice": position_bias(self.first)}


def seeded_order(seed: int, clip_id: str, ids: Sequence[int], turn: int) -> NDArray[np.int64]:
    """A permutation of range(len(ids)) that depends on nothing but its arguments: the same for real and swapped clips,
    so that a gain is not made of another order."""
    keys = [stable_hash(seed, "order", turn, clip_id, len(ids), candidate) for candidate in ids]
    return np.argsort(np.array(keys, dtype=np.uint64), kind="stable")


def parse_order(answer: object, num: int) -> list[int] | None:
    """Positions from 0, best first, each once; None if the answer cannot be read as such.

    answer: an int (a choice), a sequence of ints, or a string: letters, or numbers from 1, with separators, after
    "Answer:", "The order is" or nothing. A sentence is not guessed at ("I" and "a" are letters, too); doubles and
    numbers out of range make an answer unreadable.
    """
    found: list[int]
    if isinstance(answer, str):
        found = _read(answer)
    elif isinstance(answer, (int, np.integer)) and not isinstance(answer, bool):
        found = [int(answer)]
    elif isinstance(answer, (Sequence, np.ndarray)):
        values = list(cast(Sequence[Any], answer))
        if not all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in values):
            return None
        found = [int(value) for value in values]
    else:
        return None
    if not found or len(set(found)) != len(found) or min(found) < 0 or max(found) >= num:
        return None
    return found


def _read(answer: str) -> list[int]:
    """Positions from 0 as a string names them; [] if it says anything else."""
    if len(answer) > MAX_ANSWER:
        return []
    lead = _LEAD.match(answer)
    text = answer[lead.end() :] if lead else answer
    if _SEPARATED["numbers"].fullmatch(text):
        return [int(number) - 1 for number in re.findall(_TOKENS["numbers"], text)]
    if _SEPARATED["letters"].fullmatch(text):
        return [ord(letter.upper()) - ord("A") for letter in re.findall(_TOKENS["letters"], text)]
    return []


def ranks_of(found: Sequence[int] | None, num: int) -> NDArray[np.float64]:
    """The rank of each position from 1; positions that are not named share the mean of the ranks that are left."""
    named = list(found or ())
    ranks = np.full(num, (len(named) + 1 + num) / 2)
    ranks[named] = np.arange(1, len(named) + 1)
    return ranks


def position_bias(first: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Where the first choices stood, from (position from 0, K) of each answer, and p against a uniform position.

    mean_position, expected: from 1, over answers; p: two-sided, of the standardised mean (normal approximation): does
    it prefer what stands early or late? counts: by position from 1, where all K are equal; p_any: chi-square of them
    (any unevenness; None below 5 expected a position).
    """
    if not first:
        return {"num": 0, "mean_position": None, "expected": None, "p": None, "counts": None, "p_any": None}
    places, sizes = np.array(first, dtype=np.float64).T
    centred = (places - (sizes - 1) / 2).sum()
    variance = ((sizes**2 - 1) / 12).sum()
    p = float(2 * ndtr(-abs(centred) / np.sqrt(variance))) if variance > 0 else 1.0
    counts: list[int] | None = None
    p_any = None
    if (sizes == sizes[0]).all():
        counts = np.bincount(places.astype(np.int64), minlength=int(sizes[0])).tolist()
        even = len(first) / len(counts)
        if even >= 5 and len(counts) > 1:
            p_any = round(float(chdtrc(len(counts) - 1, sum((n - even) ** 2 / even for n in counts))), 10)
    return {
        "num": len(first),
        "mean_position": round(float(places.mean() + 1), 6),
        "expected": round(float((sizes.mean() + 1) / 2), 6),
        "p": round(p, 10),
        "counts": counts,
        "p_any": p_any,
    }


def sentence(name: str, facts: dict[str, Any]) -> str:
    """What stands under the table of a run about a model that was asked."""
    text = f"{name} was asked in {facts['orders']} orders: {facts['unparsable']} of {facts['asked']} answers unreadable"
    text += " (ties)"
    if facts["partial"]:
        text += f", {facts['partial']} named only some candidates"
    bias = facts["first_choice"]
    if bias["num"]:
        uneven = [p for p in (bias["p"], bias["p_any"]) if p is not None and p < 0.05]
        lean = "early" if bias["mean_position"] < bias["expected"] else "late"
        verdict = "positions are uneven" if uneven else "no bias seen"
        verdict = f"it prefers {lean} ones" if bias["p"] < 0.05 else verdict
        chance = "p < .001" if bias["p"] < 0.001 else f"p {bias['p']:.3f}"
        text += (
            f"; first choice at position {bias['mean_position']:.2f}, {bias['expected']:.2f} without bias "
            f"({chance}: {verdict})"
        )
    return text
