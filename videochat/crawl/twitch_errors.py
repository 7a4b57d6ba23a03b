"""What a request to Twitch can end in, told apart so that each is answered in its own way.

    except IntegrityFailed: page by offset        except TwitchError as error: error.slug, error.retryable

No error text holds a header, a token or more of an answer than Twitch's own one-line message.
"""

from __future__ import annotations

from typing import Any

from ..errors import VideochatError


class TwitchError(VideochatError):
    """slug: the class for the ledger. retryable: the same request may well succeed later.

    data: what the answer held beside its errors, if anything; retry_after_s: as the server asked, or None.
    insisted: the same request has been made as often as it is worth.
    """

    slug = "twitch-error"
    retryable = True
    insisted = False

    def __init__(
        self, what: str, *, fix: str = "", data: dict[str, Any] | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(what, fix=fix)
        self.data = data
        self.retry_after_s = retry_after_s


class ConnectionFailed(TwitchError):
    """No whole answer came: refused, reset, timed out, cut off."""

    slug = "connection-failed"


class ServerFailed(TwitchError):
    """HTTP 5xx."""

    slug = "server-failed"


class NotJson(TwitchError):
    """An answer with status 200 that is no JSON or not of GraphQL's form: cut off, an HTML page, something else."""

    slug = "not-json"


class RateLimited(TwitchError):
    """HTTP 429."""

    slug = "rate-limited"


class Unauthorized(TwitchError):
    """HTTP 401 or 403: the client id is refused, or something on the way asks for credentials."""

    slug = "unauthorized"
    retryable = False


class BadRequest(TwitchError):
    """Any other HTTP status that is no success."""

    slug = "bad-request"
    retryable = False


class ServiceFailed(TwitchError):
    """ "service error", "service timeout" or the like, inside an answer with status 200."""

    slug = "service-error"


class IntegrityFailed(TwitchError):
    """Twitch wants proof that a browser asks: it refuses cursors for a while or for good, offsets mostly not."""

    slug = "integrity-failed"
    retryable = False


class QueryRefused(TwitchError):
    """Any other error inside an answer: an unknown field, a wrong variable, a persisted query without a text."""

    slug = "query-refused"
    retryable = False


class VideoGone(TwitchError):
    """`video: null`: no VOD of this id, or it has been deleted."""

    slug = "unknown-video"
    retryable = False


class CommentsRefused(TwitchError):
    """`comments: null`: a failed integrity check without the words, or a VOD whose chat is gone."""

    slug = "comments-null"


class ChatIncomplete(TwitchError):
    """Raised after the last message that could be had, where chat-downloader would end in silence."""

    slug = "chat-incomplete"
