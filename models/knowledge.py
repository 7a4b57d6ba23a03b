"""The store of knowledge: facts, and those of them that resemble what the chat talks about.

    store = KnowledgeStore(chat_facts(dataset.clips("train")))
    store.retrieve(views, num_facts=8)[0]        # texts, the most similar first

A fact is a comment of the training split (the published model takes other videos' comments, too) or a line of the
user's own file. Nothing of the recording that is being commented on is ever retrieved, so neither its future nor the
answer itself can come back as knowledge; recordings of dev and test are in no store.

Similarity is the cosine of TF-IDF vectors of words; equal ones keep the order of the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videochat.commenter import ClipView
from videochat.errors import UsageError
from videochat.files import stable_hash
from videochat.schema import Clip

MIN_WORDS = 3  # "lol" tells nothing (our choice)
MAX_CHAT_FACTS = 50_000  # of the training split, chosen by hash; more would slow retrieval down (our choice)
WORD = r"(?u)\b\w+\b"
FIELDS = {"text", "category"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """recording_id: the one recording in which it was said, "" if it is not of one; category: where it holds, "" for
    everywhere."""

    text: str
    recording_id: str = ""
    category: str = ""


def chat_facts(train: Iterable[Clip]) -> list[Fact]:
    """The distinct comments of the training split that have at least MIN_WORDS words, sorted."""
    owner: dict[str, str] = {}
    for clip in train:
        for comment in (*clip.context, *clip.responses):
            if len(comment.text.split()) >= MIN_WORDS:
                same = owner.setdefault(comment.text, clip.recording_id) == clip.recording_id
                owner[comment.text] = clip.recording_id if same else ""
    chosen = sorted(owner, key=lambda text: (stable_hash("fact", text), text))[:MAX_CHAT_FACTS]
    return [Fact(text=text, recording_id=owner[text]) for text in sorted(chosen)]


def read_facts(path: Path) -> list[Fact]:
    """The user's own facts: JSONL of {"text": "...", "category": "..."}, the category optional.

    Raises UsageError with the number of the first line that is none.
    """
    facts = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", fix="pass a JSONL file of facts in UTF-8") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict) or not set(row) <= FIELDS or not all(isinstance(v, str) for v in row.values()):
            raise UsageError(
                f"{path.name}, line {number} is no fact",
                fix='write {"text": "...", "category": "..."}, the category optional',
            )
        if not str(row.get("text", "")).strip():
            raise UsageError(f"{path.name}, line {number} has no text", fix="leave the line out")
        facts.append(Fact(text=" ".join(row["text"].split()), category=row.get("category", "")))
    return facts


class KnowledgeStore:
    def __init__(self, facts: Sequence[Fact]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.facts = list(facts)
        self.vectorizer = TfidfVectorizer(token_pattern=WORD, sublinear_tf=True)
        try:
            self.rows = self.vectorizer.fit_transform([fact.text for fact in self.facts])
        except ValueError:  # no fact has a word
            self.facts, self.rows = [], None

    def retrieve(self, views: Sequence[ClipView], *, num_facts: int) -> list[list[str]]:
        """For each clip at most `num_facts` texts that share a word with its chat, the most similar first."""
        if not self.facts or not num_facts or not views:
            return [[] for _ in views]
        queries = self.vectorizer.transform([" ".join(c.text for c in view.context) for view in views])
        similarity = (queries @ self.rows.T).tocsr()  # each number is a sum in the order of the words: no batch matters
        return [self._best(view, similarity[[row]], num_facts) for row, view in enumerate(views)]

    def _best(self, view: ClipView, similarity: object, num_facts: int) -> list[str]:
        indices: np.ndarray = np.asarray(similarity.indices)  # type: ignore[attr-defined]
        values: np.ndarray = np.asarray(similarity.data)  # type: ignore[attr-defined]
        said = {comment.text for comment in view.context}
        found: list[str] = []
        for place in np.lexsort((indices, -values)):
            fact = self.facts[indices[place]]
            if self._allowed(fact, view) and fact.text not in said:
                found.append(fact.text)
                if len(found) == num_facts:
                    break
        return found

    @staticmethod
    def _allowed(fact: Fact, view: ClipView) -> bool:
        own = fact.recording_id != "" and fact.recording_id == view.recording_id
        return not own and fact.category in ("", view.category)
