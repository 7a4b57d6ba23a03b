"""Emotes out of the text and kept beside it, and the names of chatters out of the text.

First-party emotes are marked when the chat is read (SLOT), and so are their codes where somebody without the emote
types them; third-party ones (BTTV, FrankerFaceZ, 7TV) are plain words that a dated list knows (`lists`); cheermotes are
a known word and a number of bits ("Cheer100"). A row's `emotes` keep the order of the message.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .characters import normalize, shorten
from .chat import SLOT, Chat
from .rules import rewrite

# Twitch's cheermotes; https://dev.twitch.tv/docs/api/reference/#get-cheermotes gives a channel's own too.
CHEERMOTES = (
    "Cheer|DoodleCheer|BibleThump|cheerwhal|Corgo|Scoops|uni|ShowLove|Party|SeemsGood|Pride|PrideCheer|Kappa|FrankerZ"
    "|HeyGuys|DansGame|EleGiggle|TriHard|Kreygasm|4Head|SwiftRage|NotLikeThis|FailFish|VoHiYo|PJSalt|MrDestructoid|bday"
    "|RIPCheer|Shamrock|BitBoss|Streamlabs|Muxy|HolidayCheer|Goal|Anon|Charity"
)
_CHEER = re.compile(rf"(?:{CHEERMOTES})[0-9]+")
_NAME = re.compile(r"(\w+)(?:'s\b)?,?")
_LOOSE = re.compile(r"(?<=[^ !?.,;:\x01]) +([!?.,;:]+)(?= |$)")  # what a removed name left: "hi !" becomes "hi!"
MIN_PLAIN_NAME = 9  # a login without digit or underscore is taken for a name only if it is at least so long


@rewrite("emotes", "emotes taken out of the text and kept beside it")
def emotes(chat: Chat) -> NDArray[np.bool_]:
    # Texts are already shortened, so a code is looked up in its shortened form ("xddd" is xdd).
    own_codes = {code for codes in chat.emotes.values() for code in codes if " " not in code}
    codes = sorted(chat.lists.emotes | own_codes)
    known = dict(zip(shorten(codes, chat.config.elongation_keep), codes, strict=True)) if codes else {}
    touched = _texts_with_words(chat.texts, pa.array([SLOT, *known], pa.string()))
    cheered = np.flatnonzero(pc.match_substring_regex(chat.texts, rf"(?:^| )(?:{CHEERMOTES})\d+(?: |$)"))
    touched = np.union1d(touched, cheered)
    third_party: dict[int, list[str | None]] = {}  # None: the row's next first-party emote
    texts = chat.texts.to_pylist()
    for index in touched.tolist():
        words: list[str] = []
        taken: list[str | None] = []
        for word in texts[index].split(" "):
            if word == SLOT:
                taken.append(None)
            elif word in known:
                taken.append(known[word])
            elif _CHEER.fullmatch(word):
                taken.append(word)
            else:
                words.append(word)
        texts[index] = " ".join(words)
        if any(code is not None for code in taken):
            third_party[index] = taken
    changed = chat.rewrite(texts)
    if third_party:
        mixed = np.zeros(len(chat.texts), dtype=bool)
        mixed[list(third_party)] = True
        for row in np.flatnonzero(chat.rows(mixed)).tolist():
            own = iter(chat.emotes.get(row, ()))
            chat.emotes[row] = [code or next(own) for code in third_party[int(chat.codes[row])]]
    return changed


@rewrite("name", "logins of the recording's chatters and channel removed, where they stand as a word")
def name(chat: Chat) -> NDArray[np.bool_]:
    names = {login.casefold() for login in (*chat.logins, chat.recording.channel)}
    names = {login for login in names if is_name(login)}
    if not names:
        return np.zeros(len(chat), dtype=bool)
    texts = chat.texts.to_pylist()
    words = pc.replace_substring_regex(pc.utf8_lower(chat.texts), r"[^\p{L}\p{M}\p{N}_]+", " ")
    for index in _texts_with_words(words, pa.array(sorted(names), pa.string())).tolist():
        kept = _NAME.sub(lambda match: " " if match[1].casefold() in names else match[0], texts[index])
        texts[index] = _LOOSE.sub(r"\1", normalize([kept])[0])
    return chat.rewrite(texts)


def is_name(login: str) -> bool:
    """Whether a login is unlikely to be a word of the chat's language."""
    odd = any(char.isdigit() or char == "_" for char in login)
    return len(login) >= (4 if odd else MIN_PLAIN_NAME)


def _texts_with_words(texts: pa.Array, words: pa.Array) -> NDArray[np.int64]:
    """Indices of the texts that hold one of `words` between spaces."""
    lists = pc.split_pattern(texts, " ")
    hit = pc.is_in(lists.flatten(), value_set=words)
    return np.unique(pc.list_parent_indices(lists).filter(hit).to_numpy())
