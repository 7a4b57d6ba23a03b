"""Rules that are one pattern (RE2) over the texts: notices, e-mail, mentions, phone, links, commands; and lengths."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .characters import normalize
from .chat import Chat
from .rules import drop, rewrite

# Unicode classes (\p{L}) cost RE2 a millisecond each to compile, for every recording: they are used sparingly.
WIDE = r"\x{80}-\x{10ffff}"  # all that is not ASCII
WORD = r"[\p{L}\p{M}\p{N}_]"
_NAME = "(?:[^ ]+|[Aa]n anonymous [a-z]+)"

# Twitch writes these into the chat of a VOD as the user's own message; all begin with a login.
_OWN_WORDS = (
    rf"^{_NAME} (?:subscribed (?:at Tier \d|with Prime)\.(?: They've subscribed for \d+ months?"
    r"(?:, currently on a \d+ month streak)?!)?"
    r"|watched \d+ consecutive streams (?:this month )?and sparked a watch streak!"
    r"|converted from a Prime sub to a Tier \d sub!) ?"
)
_NOTICE = (
    rf"^(?:{_NAME} (?:gifted (?:a Tier \d|\d+ months? of Tier \d)|is gifting \d+ |is continuing the Gift Sub"
    r"|is paying forward the Gift|redeemed .+ for [\d,.]+ Bits|cheered \d+ )"
    r"|[\d,.]+ raiders? from .+ ha(?:s|ve) joined!)"
)

_EMAIL = r"[^\s@]@[^\s@.]+(?:\.[^\s@.]+)*\.[A-Za-z]{2}"
_MENTION = rf"@{WORD}+(?:'s\b|[,:])?"
_LOOSE = r"([^ !?.,;:\x01]) +([!?.,;:]+(?: |$))"  # what a removed name left: "hi !" becomes "hi!"
# International or grouped numbers of 9-15 digits; a bare run of digits ("1000000000") is a score or a joke.
_PHONE = (
    r"(?:^|[^\w.,:/$€£#-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4}|0\d{2,4}[ /-]\d{3,4}[ -]\d{3,5})(?:$|[^\w.,:/%-])"
    r"|\+\d{9,15}\b"
)
# Without a path only endings that are no words: "lol.it is", "hola.de donde" and "nice.live" are not links.
_TLD = "com|net|org|edu|gov|info|xyz|tv|uk|ru|fr|nl|jp|br|cn"
_HOST = rf"[\w{WIDE}-][\w{WIDE}-](?:\.[\w{WIDE}-]+)*\."
_LINK = (
    r"(?i)(?:https?|ftp)s?:/+[^\s/]|\bww+\.\S"  # "ww.": elongation has cut "www."
    rf"|{_HOST}(?:(?:{_TLD})(?:$|\W)|[a-z]+/[\w?#@{WIDE}])"
    rf"|[\w{WIDE}][\w{WIDE}](?: \.|(?: ?\. ?)?[(\[]dot[)\]] ?)(?:com|net|org|ru)(?:$|\W)"  # "site .com", "site(dot)com"
)
_PERHAPS_LINK = rf"(?i):/|[\w{WIDE}]\.[\w{WIDE}]|ww\.| \.[cnor]|[(\[]dot[)\]]"  # quick to test; every link passes
COMMAND = r"^[!/]\p{L}[^\s!?.,/]*(?: |$)|^!\d+(?: |$)"

_ABOUT = "subscribed|watched|converted|gifted|gifting|Gift|redeemed|cheered|joined!"  # every notice has one of them


@rewrite("notice-cut", "the platform's notice before a subscriber's own words removed")
def notice_cut(chat: Chat) -> NDArray[np.bool_]:
    chosen = pc.match_substring_regex(chat.texts, _ABOUT)
    changed = chat.rewrite_where(chosen, lambda texts: pc.replace_substring_regex(texts, _OWN_WORDS, ""))
    chat.notes["noticed"] = changed & chat.rows(pc.equal(chat.texts, ""))
    return changed


@drop("notice", "a notice of the platform (subscription, gift, raid), not a comment", private=True)
def notice(chat: Chat) -> NDArray[np.bool_]:
    noticed: NDArray[np.bool_] = chat.notes.pop("noticed")
    chosen = pc.match_substring_regex(chat.texts, _ABOUT)
    return noticed | chat.rows_where(chosen, lambda texts: pc.match_substring_regex(texts, _NOTICE))


@drop("email", "holds an e-mail address", private=True)
def email(chat: Chat) -> NDArray[np.bool_]:
    chosen = pc.match_substring(chat.texts, "@")
    return chat.rows_where(chosen, lambda texts: pc.match_substring_regex(texts, _EMAIL))


@rewrite("mention", "@names removed")
def mention(chat: Chat) -> NDArray[np.bool_]:
    return chat.rewrite_where(pc.match_substring(chat.texts, "@"), _without_mentions)


def _without_mentions(texts: pa.Array) -> pa.Array:
    texts = pc.replace_substring_regex(texts, _MENTION, " ")
    return pa.array(normalize(pc.replace_substring_regex(texts, _LOOSE, r"\1\2").to_pylist()), pa.string())


@drop("phone", "holds a telephone number", private=True)
def phone(chat: Chat) -> NDArray[np.bool_]:
    return chat.rows(pc.match_substring_regex(chat.texts, _PHONE))


@drop("link", "holds a link")
def link(chat: Chat) -> NDArray[np.bool_]:
    chosen = pc.match_substring_regex(chat.texts, _PERHAPS_LINK)
    return chat.rows_where(chosen, lambda texts: pc.match_substring_regex(texts, _LINK))


@drop("command", "a command to a bot or to the chat (!drops, /commands)")
def command(chat: Chat) -> NDArray[np.bool_]:
    return chat.rows(pc.match_substring_regex(chat.texts, COMMAND))


@drop("emote-only", "nothing but emotes")
def emote_only(chat: Chat) -> NDArray[np.bool_]:
    some = np.zeros(len(chat), dtype=bool)
    some[list(chat.emotes)] = True
    return chat.rows(pc.equal(chat.texts, "")) & some


@drop("empty", "no text left")
def empty(chat: Chat) -> NDArray[np.bool_]:
    return chat.rows(pc.equal(chat.texts, ""))


@drop("over-long", "longer than max_chars characters")
def over_long(chat: Chat) -> NDArray[np.bool_]:
    return chat.rows(pc.greater(pc.utf8_length(chat.texts), chat.config.max_chars))
