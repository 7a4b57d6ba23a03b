"""Rules that are one pattern (RE2) over the texts: notices, e-mail, mentions, phone, links, commands; and lengths."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .characters import tidy
from .chat import Chat
from .rules import drop, rewrite

WORD = r"[\p{L}\p{M}\p{N}_]"
_NAME = rf"(?:{WORD}{{2,30}}|An anonymous (?:user|gifter)|[Aa]n? anonymous)"

# Twitch writes these into the chat of a VOD as the user's own message; all begin with a login.
_OWN_WORDS = (
    rf"^{_NAME} (?:subscribed (?:at Tier \d|with Prime)\.(?: They've subscribed for \d+ months?"
    r"(?:, currently on a \d+ month streak)?!)?"
    r"|watched \d+ consecutive streams (?:this month )?and sparked a watch streak!"
    r"|converted from a Prime sub to a Tier \d sub!) ?"
)
_NOTICE = (
    rf"^(?:{_NAME} (?:gifted (?:a Tier \d|\d+ months? of Tier \d)|is gifting \d+ |is continuing the Gift Sub"
    r"|is paying forward the Gift|redeemed .{1,60} for [\d,.]+ Bits|cheered \d+ )"
    r"|[\d,.]+ raiders? from .{1,30} ha(?:s|ve) joined!)"
)

_EMAIL = r"(?i)[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.[a-z]{2,}"
_MENTION = rf"@{WORD}+(?:'s\b|[,:])?"
# International or grouped numbers of 9-15 digits; a bare run of digits ("1000000000") is a score or a joke.
_PHONE = (
    r"(?:^|[^\w.,:/$€£#-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4}|0\d{2,4}[ /-]\d{3,4}[ -]\d{3,5})(?:$|[^\w.,:/%-])"
)
_PHONE_BARE_PLUS = r"\+\d{9,15}\b"
_TLD = "com|net|org|edu|gov|info|shop|store|live|stream|online|site|xyz|club|link|app|tv|uk|de|fr|ru|nl|eu|jp|br|cn"
_SHORT_TLD = "gg|io|co|be|ly|me|to|it|is|gl|fm|am|in|us|ca|cc|ai|dev|page|one|pro|su|pl|se|no|es"  # are words as well
_LINK = (
    r"(?i)(?:\b(?:https?|ftp)s?:/+|\bwww\.)\S"
    rf"|(?:^|[^\p{{L}}\p{{N}}.])[\p{{L}}\p{{N}}][\p{{L}}\p{{N}}-]+(?:\.[\p{{L}}\p{{N}}-]+)*\.(?:{_TLD})(?:$|[^\p{{L}}\p{{N}}])"
    rf"|(?:^|[^\p{{L}}\p{{N}}.])[\p{{L}}\p{{N}}][\p{{L}}\p{{N}}-]+(?:\.[\p{{L}}\p{{N}}-]+)*\.(?:{_SHORT_TLD})/[\w?#]"
    rf"|[\p{{L}}\p{{N}}] ?(?:\. ?|\(dot\) ?|\[dot\] ?| dot )(?:com|net|org)(?:$|[^\p{{L}}\p{{N}}])"
)
_COMMAND = r"^[!$/][\p{L}][\p{L}\p{N}_-]*(?: |$)|^![\p{L}\p{N}_-]+(?: |$)"


@rewrite("notice-cut", "the platform's notice before a subscriber's own words removed")
def notice_cut(chat: Chat) -> NDArray[np.bool_]:
    cut = pc.replace_substring_regex(chat.texts, _OWN_WORDS, "", max_replacements=1)
    chat.notes["noticed"] = chat.rows(pc.and_(pc.not_equal(cut, chat.texts), pc.equal(cut, "")))
    return chat.rewrite(cut)


@drop("notice", "a notice of the platform (subscription, gift, raid), not a comment", private=True)
def notice(chat: Chat) -> NDArray[np.bool_]:
    noticed: NDArray[np.bool_] = chat.notes.pop("noticed")
    return noticed | chat.rows(pc.match_substring_regex(chat.texts, _NOTICE))


@drop("email", "holds an e-mail address", private=True)
def email(chat: Chat) -> NDArray[np.bool_]:
    return chat.rows(pc.match_substring_regex(chat.texts, _EMAIL))


@rewrite("mention", "@names removed")
def mention(chat: Chat) -> NDArray[np.bool_]:
    return chat.rewrite(_where(chat.texts, pc.match_substring(chat.texts, "@"), _without_mentions))


def _without_mentions(texts: pa.Array) -> pa.Array:
    return tidy(pc.replace_substring_regex(texts, _MENTION, " "))


@drop("phone", "holds a telephone number", private=True)
def phone(chat: Chat) -> NDArray[np.bool_]:
    found = pc.match_substring_regex(chat.texts, _PHONE)
    return chat.rows(pc.or_(found, pc.match_substring_regex(chat.texts, _PHONE_BARE_PLUS)))


@drop("link", "holds a link")
def link(chat: Chat) -> NDArray[np.bool_]:
    return chat.rows(pc.match_substring_regex(chat.texts, _LINK))


@drop("command", "a command to a bot or to the chat (!drops, /commands)")
def command(chat: Chat) -> NDArray[np.bool_]:
    return chat.rows(pc.match_substring_regex(chat.texts, _COMMAND))


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


def _where(texts: pa.Array, chosen: pa.Array, change: object) -> pa.Array:
    """`texts` with `change` applied to the chosen ones: most texts need no costly replacement."""
    return pc.replace_with_mask(texts, chosen, change(texts.filter(chosen)))  # type: ignore[operator]
