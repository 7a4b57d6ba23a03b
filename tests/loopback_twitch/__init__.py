"""A loopback Twitch: real clients, real HTTP, TLS and HLS, no mocks, nothing that leaves the machine.

    def test_it(twitch):
        vod = twitch.add_vod(twitch.Vod(id="1234567890", duration_s=120, comments=twitch.comments(300, 120, seed=1)))
        twitch.fault("integrity-after-page", n=2)
        ...  # a real client: chat-downloader and requests as they are; yt_dlp with compat_opts {"no-certifi"}
        assert [row["status"] for row in twitch.requests] == [...]

`twitch` is the fixture of tests/conftest.py; the variables of `twitch.environment` are set while it lives and suffice
for child processes too. graphql (the language), operations (persisted queries), answers (the data behind them), vods
(what is held), hls (media by ffmpeg), helix (the public API), faults (misbehaviour), proxy and server (the wire).
"""

from .hls import Media
from .server import Authority, LoopbackTwitch
from .vods import Channel, Collection, Vod, comment, comments

__all__ = ["Authority", "Channel", "Collection", "LoopbackTwitch", "Media", "Vod", "comment", "comments"]
