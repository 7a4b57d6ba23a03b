"""The failure signatures of the paper, measured on the baseline of an experiment, and told when they occur.

uniform weights   the frame weights prefer nothing, so nothing is aggregated that a mean would not give
sparse chat       clips with hardly any context comment, in which a weighting has nothing to go by
off-topic chat    the chat fits the clip's own frames no better than those of another clip
generic replies   few different comments for many clips

Each is a dict {name, occurs, value, limit, text}; limits are ours and stand in the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.files import stable_hash

from ..runs.table import short
from ..texts.keys import keys
from .weights import UNIFORM

if TYPE_CHECKING:
    from videochat.commenter import ClipView

Json = dict[str, Any]
SPARSE_COMMENTS = 3  # fewer context comments are sparse
SPARSE_SHARE = 0.25
UNIFORM_SHARE = 0.5
GENERIC_SHARE = 0.2  # of the clips get one and the same comment
FIT_LIMIT = 0.55  # share of clips that fit their own frames better; .5 is chance


def _sign(name: str, occurs: bool, value: float, limit: float, text: str) -> Json:
    return {"name": name, "occurs": bool(occurs), "value": round(float(value), 6), "limit": limit, "text": text}


def uniform_weights(facts: Json | None) -> Json | None:
    """From `weight_facts`; None for a model without weights."""
    if facts is None:
        return None
    share = facts["uniform_share"]
    text = f"{short(share)} of the clips have an evenness above {short(UNIFORM, digits=2)}"
    return _sign("uniform weights", share > UNIFORM_SHARE, share, UNIFORM_SHARE, text)


def sparse_chat(views: Sequence[ClipView]) -> Json:
    share = float(np.mean([len(clip.context) < SPARSE_COMMENTS for clip in views]))
    text = f"{short(share)} of the clips have fewer than {SPARSE_COMMENTS} context comments"
    return _sign("sparse chat", share > SPARSE_SHARE, share, SPARSE_SHARE, text)


def off_topic_chat(views: Sequence[ClipView], *, seed: int = 0) -> Json | None:
    """How often the chat's best frame stands out more among the clip's own frames than among those of another clip of
    another recording (drawn by hash); None without features."""
    seen = [
        clip
        for clip in views
        if clip.frames is not None and clip.context_clip is not None and len(clip.frames) > 1 and len(clip.context_clip)
    ]
    own, other = [], []
    for clip in seen:
        strangers = [c for c in seen if c.recording_id != clip.recording_id]
        if not strangers:
            continue
        stranger = strangers[stable_hash(seed, clip.clip_id, "stranger") % len(strangers)]
        own.append(_stands_out(clip, clip))
        other.append(_stands_out(clip, stranger))
    if not own:
        return None
    difference = np.subtract(own, other)
    share = float((difference > 0).mean() + (difference == 0).mean() / 2)
    text = f"{short(share)} of the clips fit their own frames better than a stranger's, where .500 is chance"
    return _sign("off-topic chat", share < FIT_LIMIT, share, FIT_LIMIT, text)


def _stands_out(clip: ClipView, frames_of: ClipView) -> float:
    """The similarity, summed over the comments, of the best frame, minus the mean over the frames."""
    assert clip.context_clip is not None and frames_of.frames is not None
    similarities = frames_of.frames.astype(np.float64) @ clip.context_clip.astype(np.float64).sum(axis=0)
    return float(similarities.max() - similarities.mean())


def generic_replies(comments: Sequence[str]) -> Json:
    """From one written comment a clip."""
    (_, count), *_ = Counter(keys(comments)).most_common(1)
    share = count / len(comments)
    distinct = len(set(keys(comments)))
    text = f"the commonest comment answers {short(share)} of {len(comments)} clips; {distinct} comments differ"
    return _sign("generic replies", share > GENERIC_SHARE, share, GENERIC_SHARE, text)
