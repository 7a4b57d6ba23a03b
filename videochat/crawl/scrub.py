"""What may be said of a failure: no URLs with their queries, no secrets, no home folders; one line.

scrub("GET https://usher.ttvnw.net/vod/1.m3u8?sig=ab&token=cd failed")   # "GET usher.ttvnw.net failed"
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

MAX_CHARACTERS = 500
SECRETS = ("TWITCH_CLIENT_ID", "TWITCH_CLIENT_SECRET")  # environment variables whose values are never shown
_URL = re.compile(r"https?://[^\s'\"<>]+")
_CREDENTIAL = re.compile(
    r"(?i)\b(oauth |bearer |(?:auth[-_]?token|token|sig|signature|client[-_]secret|cookie|password)\"?\s*[:=]\s*\"?)"
    r"[^\s,;&\"']{4,}"
)
_AT_NAME = re.compile(r"(?<!\w)@\w+")


def scrub(text: str) -> str:
    """`text` as one line, fit for the ledger and the terminal."""
    for name in SECRETS:
        if len(value := os.environ.get(name, "")) >= 4:
            text = text.replace(value, f"<{name}>")
    text = _URL.sub(lambda found: urlsplit(found[0]).hostname or "<url>", text)
    text = _CREDENTIAL.sub(r"\1…", text)
    text = _AT_NAME.sub("@…", text)
    if len(home := os.path.expanduser("~")) > 1:
        text = text.replace(home, "~")
    return " ".join(text.split())[:MAX_CHARACTERS]
