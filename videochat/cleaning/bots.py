"""Bots: known by list, badge or name, or because they post like clocks or answer commands; an allow-list protects.

Every decision is logged with its evidence under the author's pseudonym (`bots` in the metadata of the comments), so
that a wrong one can be seen and put into lists/allow.txt.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from .chat import Chat
from .patterns import COMMAND
from .rules import drop


@drop("bot", "written by a bot (list, badge, name, or the same text at regular intervals)")
def bot(chat: Chat) -> NDArray[np.bool_]:
    evidence: dict[int, list[str]] = defaultdict(list)
    for author, login in enumerate(chat.logins):
        if login.casefold() in chat.lists.bots:
            evidence[author].append("list")
        elif login.casefold().endswith(("_bot", "chatbot")):
            evidence[author].append("name")
    for author in np.unique(chat.author[chat.badged]).tolist():
        evidence[author].append("badge")
    for author, detail in _clocks(chat).items():
        evidence[author].append(detail)
    for author, detail in _answerers(chat).items():
        evidence[author].append(detail)
    evidence.pop(-1, None)
    for author in [a for a in evidence if chat.logins[a].casefold() in chat.lists.allowed]:
        del evidence[author]
    hit = np.isin(chat.author, list(evidence))
    counts = np.bincount(chat.author[hit], minlength=len(chat.logins))
    chat.bots = [
        {"author": author, "evidence": reasons, "num_comments": int(counts[author])}
        for author, reasons in sorted(evidence.items())
    ]
    return hit


def _answerers(chat: Chat) -> dict[int, str]:
    """Authors most of whose comments come just after a command of somebody else, with the evidence in words."""
    config = chat.config
    commands = chat.rows(pc.match_substring_regex(chat.texts, COMMAND))
    times = chat.time_ms[commands]
    rows = np.flatnonzero(~commands & (chat.author >= 0))
    if not len(times) or not len(rows):
        return {}
    last = np.searchsorted(times, chat.time_ms[rows], side="right") - 1
    asked = (last >= 0) & (chat.time_ms[rows] - times[last] <= config.bot_answer_ms)
    asked &= chat.author[commands][last] != chat.author[rows]
    size = len(chat.logins)
    answers, comments = (
        np.bincount(chat.author[rows[asked]], minlength=size),
        np.bincount(chat.author[rows], minlength=size),
    )
    chance = max(float(asked.mean()), 1e-9)  # in a chat full of commands everybody seems to answer
    many = (answers >= config.bot_min_answers) & (answers >= config.bot_answer_share * comments)
    many &= config.bot_answer_share >= 5 * chance
    return {
        author: f"{answers[author]} of {comments[author]} comments follow a command"
        for author in np.flatnonzero(many).tolist()
    }


def _clocks(chat: Chat) -> dict[int, str]:
    """Authors who post one long text at regular intervals, with the evidence in words."""
    config = chat.config
    long = pc.greater_equal(pc.utf8_length(chat.texts), config.bot_min_chars)
    rows = np.flatnonzero(chat.rows(long) & (chat.author >= 0))
    texts = chat.texts.dictionary_encode().indices.to_numpy(zero_copy_only=False)[
        chat.codes
    ]  # rewritten texts may be equal
    pairs = chat.author[rows].astype(np.int64) << 32 | texts[rows]
    values, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    found: dict[int, str] = {}
    for index in np.flatnonzero(counts >= config.bot_min_repeats).tolist():
        gaps = np.diff(chat.time_ms[rows[inverse == index]])
        median = float(np.median(gaps))
        share = float(np.mean(np.abs(gaps - median) <= config.bot_gap_tolerance * median))
        if median >= config.bot_min_gap_ms and share >= config.bot_gap_share:
            author = int(values[index] >> 32)
            found[author] = f"one text {counts[index]} times, every {median / 1000:.0f} s"
    return found
