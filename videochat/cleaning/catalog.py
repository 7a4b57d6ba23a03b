"""All rules, in the order in which they run: the order decides which reason a row gets. `videochat clean` lists them.

Who decides over the whole message (time, platform, bots) comes first; then texts are rewritten; then what is left is
judged. E-mail addresses are looked for before @names go, because "@host" would go with them.
"""

from __future__ import annotations

from ..registry import Registry
from .bots import bot
from .characters import elongation, unicode
from .emotes import emotes, name
from .language import language
from .patterns import command, email, emote_only, empty, link, mention, notice, notice_cut, over_long, phone
from .repeats import before_start, copypasta, duplicate, repeat
from .rules import Rule

RULES: Registry[Rule] = Registry("cleaning rule")
for _rule in (
    before_start,
    duplicate,
    unicode,
    notice_cut,
    notice,
    elongation,
    bot,
    email,
    mention,
    name,
    emotes,
    phone,
    link,
    command,
    emote_only,
    empty,
    over_long,
    copypasta,
    repeat,
    language,
):
    RULES.add(_rule.name, _rule)
