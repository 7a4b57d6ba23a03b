"""Keyed pseudonyms for authors and channels: without the workspace's key nobody can make or test one.

BLAKE2b (RFC 7693) with the key, 8 bytes, `person` telling authors from channels, the platform before the name. Who
destroys the key makes the pseudonyms final; who changes it gets others.

    pseudonym(key, "author", "twitch", "some_login")   # "u_5f0c9a..."
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..schema import Recording
    from ..workspace import Workspace

PREFIXES = {"author": "u_", "channel": "c_"}
DIGEST_BYTES = 8
CHANNEL_PSEUDONYM = re.compile(rf"c_[0-9a-f]{{{2 * DIGEST_BYTES}}}")


def pseudonym(key: bytes, kind: str, platform: str, name: str | None) -> str:
    """ "u_" or "c_" and 16 hex digits; "" for a name that is None or empty. Case of the name does not count.

    kind: "author" or "channel". platform: one name on two platforms gives two pseudonyms.
    """
    if not name:
        return ""
    message = f"{platform}\0{name.casefold()}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(message, key=key, person=kind.encode(), digest_size=DIGEST_BYTES)
    return PREFIXES[kind] + digest.hexdigest()


def author_pseudonyms(key: bytes, platform: str, names: Iterable[str | None]) -> list[str]:
    """The pseudonyms of authors, in order; call it on unique names."""
    return [pseudonym(key, "author", platform, name) for name in names]


def channel_pseudonym(workspace: Workspace, recording: Recording) -> str:
    """The pseudonym of a recording's channel; an unknown channel is one of its own (Recording.channel_key).

    When the key was destroyed (rights/keys.py) recordings hold the pseudonym itself.
    """
    if CHANNEL_PSEUDONYM.fullmatch(recording.channel) and not (workspace.root / "pseudonym.key").is_file():
        return recording.channel
    return pseudonym(workspace.pseudonym_key(), "channel", recording.platform, recording.channel_key)
