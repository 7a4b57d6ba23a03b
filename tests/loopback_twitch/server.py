"""The loopback Twitch: what it holds, how it answers, what it was asked."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .answers import MEDIA_HOST, Answers, media_folder
from .faults import Fault, make_fault
from .helix import Helix
from .hls import Media, master_playlist, media_playlist
from .messages import JSON, Request, Response
from .operations import PERSISTED, RETIRED
from .proxy import ProxyServer
from .vods import Channel, Collection, Vod, comments, number

HOSTS = {
    "gql.twitch.tv": "gql",
    "usher.ttvnw.net": "usher",
    "api.twitch.tv": "api",
    "id.twitch.tv": "id",
    "www.twitch.tv": "www",
}
PLAYLIST = "application/vnd.apple.mpegurl"
SEGMENT = re.compile(r"/(\d+)(-muted|-unmuted)?\.ts$")
FIELD = re.compile(r"\b(comments|videoPlaybackAccessToken|video|user|collection|game|badges)\s*\(")
RAW_NAMES = {"comments": "VideoCommentsByOffsetOrCursor", "videoPlaybackAccessToken": "VideoPlaybackAccessToken"}


class LoopbackTwitch:
    """A service on 127.0.0.1 that real clients take for Twitch.

    environment: the variables that lead a client here. requests: one dict a request, in order of completion: host,
    kind, path, query, operation, operations, variables, vod, segment, status, bytes (of the body, sent), seconds,
    at_s (since the start), cut. foreign: hosts that were asked for and refused. crashes: tracebacks of the loopback's
    own faults. secrets: what must never be found in a log or a file (the client's secret, tokens, signatures, a cookie
    that is set). helix: the public API, with its rate limit. page_size: comments on a page. lead: how many comments
    before its offset a page starts.
    """

    Vod = Vod
    Channel = Channel
    Collection = Collection
    comments = staticmethod(comments)

    def __init__(self, media: Media, authority: Authority, folder: Path) -> None:
        self.vods: dict[str, Vod] = {}
        self.channels: dict[str, Channel] = {}
        self.collections: dict[str, Collection] = {}
        self.persisted = dict(PERSISTED)
        self.page_size = 59  # as seen: offset 60 gave 59 comments
        self.lead = 10
        self._requests: list[dict[str, Any]] = []
        self._num_answering = 0
        self.foreign: list[str] = []
        self.crashes: list[str] = []
        self.faults: list[Fault] = []
        self.media = media
        self.answers = Answers(self)
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self.categories: dict[str, str] = {}  # name → id
        self.helix = Helix(self)
        self.cookie = f"cookie{secrets.token_hex(12)}"
        self.secrets = {self.helix.client_secret, self.cookie}
        self._stopping = threading.Event()
        self._started = time.monotonic()
        self.proxy = ProxyServer(self, authority.context)
        self.environment = self._environment(authority, folder)

    # What it holds

    def add_vod(self, vod: Vod) -> Vod:
        """Hold a VOD (again under the same id to change it); its channel appears with it. Returns it."""
        self.vods[vod.id] = vod
        if vod.channel not in self.channels:
            self.add_channel(Channel(login=vod.channel))
        for _, category in vod.segments:
            self.category_id(category)
        return vod

    def add_channel(self, channel: Channel) -> Channel:
        filled = replace(
            channel,
            id=channel.id or number(channel.login),
            display_name=channel.display_name or channel.login.capitalize(),
        )
        self.channels[channel.login] = filled
        return filled

    def add_collection(self, collection: Collection) -> Collection:
        self.collections[collection.id] = collection
        if collection.channel not in self.channels:
            self.add_channel(Channel(login=collection.channel))
        return collection

    def add_category(self, name: str, id: str) -> None:
        """Give a category the id that Twitch gives it; others get one made from the name."""
        self.categories[name] = id

    def category_id(self, name: str) -> str:
        return self.categories.setdefault(name, number(name))

    def category_of(self, id: str | None) -> str | None:
        return next((name for name, own in self.categories.items() if own == id), None)

    def revive(self, operation: str) -> None:
        """Let the retired hash of an operation work again, as it did before Twitch forgot it."""
        self.persisted.update({digest: query for digest, query in RETIRED.items() if query.operation == operation})

    # How it misbehaves

    def fault(self, name: str, **options: Any) -> Fault:
        """Turn a fault on; `faults` has the names and options. Returns it, with `struck` and `remove()`."""
        made = make_fault(name, options)
        self.faults.append(made)
        return made

    # How it answers

    def kind_of(self, host: str) -> str:
        """gql, usher, media, api, id or www; empty for a host that is not Twitch's."""
        return HOSTS.get(host) or ("media" if host.endswith(".cloudfront.net") else "")

    def respond(self, request: Request) -> Response:
        self.read(request)

        def serve() -> Response:
            return self.serve(request)

        for fault in self.faults:
            if fault.takes(request):
                inner = serve

                def serve(fault: Fault = fault, inner: Any = inner) -> Response:
                    return fault.behaviour.strike(fault, request, inner)

        response = serve()
        if request.kind in ("gql", "usher", "www"):
            cookie = f"unique_id={self.cookie}; Domain=.twitch.tv; Path=/; Secure"
            response.headers.setdefault("Set-Cookie", cookie)
        return response

    def read(self, request: Request) -> None:
        """Fill in what the request is about."""
        if request.kind == "gql":
            for asked in self.asked(request):
                text = str(asked.get("query") or "")
                named = [RAW_NAMES.get(found, found) for found in FIELD.findall(text)]
                named.sort(key=lambda name: name not in RAW_NAMES.values())
                request.operations.append(str(asked.get("operationName") or (named or [""])[0]))
                variables = dict(asked.get("variables") or {})
                inline = re.search(r'\b(?:id|videoID)\s*:\s*"(\d+)"', text)
                request.vod = request.vod or str(
                    variables.get("videoID") or variables.get("vodID") or variables.get("id") or (inline or ["", ""])[1]
                )
                request.variables.append(variables)
        elif request.kind == "usher":
            request.vod = request.path.rpartition("/")[2].removesuffix(".m3u8")
        elif request.kind == "media":
            request.vod = (request.path.split("/")[1].split("_")[-2:-1] or [""])[0]
            found = SEGMENT.search(request.path)
            request.segment = int(found[1]) if found else None

    def asked(self, request: Request) -> list[dict[str, Any]]:
        try:
            read = json.loads(request.body)
        except ValueError:
            return []
        return [entry for entry in (read if isinstance(read, list) else [read]) if isinstance(entry, dict)]

    def serve(self, request: Request) -> Response:
        if request.kind == "gql":
            return self.graphql(request)
        if request.kind == "usher":
            return self.usher(request)
        if request.kind == "media":
            return self.media_file(request)
        if request.kind == "api":
            return self.helix.answer(request)
        if request.kind == "id":
            return self.helix.token(request)
        return Response(200, b"<!DOCTYPE html><title>Twitch</title>", "text/html")

    def graphql(self, request: Request) -> Response:
        if not request.headers.get("client-id"):
            message = 'The "Client-ID" header is missing from the request.'
            return Response.of({"error": "Bad Request", "status": 400, "message": message}, 400)
        if request.headers.get("authorization"):
            message = "The OAuth token was not accepted."
            return Response.of({"error": "Unauthorized", "status": 401, "message": message}, 401)
        answers = [self.answers.answer(asked) for asked in self.asked(request)]
        if not answers:
            return Response.of({"error": "Bad Request", "status": 400, "message": "no operation"}, 400)
        is_batch = request.body.lstrip().startswith(b"[")
        return Response.of(answers if is_batch else answers[0])

    def signature(self, value: str) -> str:
        made = hashlib.sha1(self.helix.client_secret.encode() + value.encode()).hexdigest()
        self.secrets.add(made)
        return made

    def usher(self, request: Request) -> Response:
        vod = self.vods.get(request.vod)
        if vod is None or not request.path.startswith("/vod/"):
            return Response.of([{"type": "error", "error": "Not Found", "error_code": "vod_not_found"}], 404)
        if request.query.get("sig") != self.signature(request.query.get("token", "")):
            return Response.of([{"type": "error", "error": "Forbidden", "error_code": "invalid_signature"}], 403)
        root = f"https://{MEDIA_HOST}/{media_folder(vod)}"
        return Response(200, master_playlist(self.media.renditions(vod), root).encode(), PLAYLIST)

    def media_file(self, request: Request) -> Response:
        forbidden = Response(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
        vod = self.vods.get(request.vod)
        parts = request.path.split("/")
        if vod is None or parts[1] != media_folder(vod) or len(parts) != 4:
            return forbidden
        if parts[2] == "storyboards":
            shape = {"count": 1, "width": 220, "rows": 10, "images": ["0.jpg"], "interval": 10, "quality": "low"}
            return Response(200, json.dumps([{**shape, "cols": 5, "height": 124}]).encode(), JSON)
        rendition = next((own for own in self.media.renditions(vod) if own.name == parts[2]), None)
        if rendition is None:
            return forbidden
        if parts[3] == "index-dvr.m3u8":
            return Response(200, media_playlist(vod, rendition).encode(), PLAYLIST)
        found = SEGMENT.search(request.path)
        if not found or int(found[1]) >= len(rendition.seconds) or found[2] == "-unmuted":
            return forbidden
        path = rendition.folder / f"{found[1]}.ts"
        if found[2]:
            path = self.media.muted(path)
        return self.ranged(request, path.read_bytes())

    def ranged(self, request: Request, body: bytes) -> Response:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        headers = {"Accept-Ranges": "bytes"}
        if not found:
            return Response(200, body, "video/mp2t", headers)
        start, end = int(found[1]), min(int(found[2] or len(body) - 1), len(body) - 1)
        if start >= len(body):
            return Response(416, b"", "video/mp2t", {"Content-Range": f"bytes */{len(body)}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        return Response(206, body[start : end + 1], "video/mp2t", headers)

    def pace(self, request: Request, size: int, connection: Any) -> None:
        """Wait as long as the throughput limits in force ask before `size` bytes go out."""
        for fault in self.faults:
            if fault.is_on and fault.name == "slow" and request.kind in fault.kinds:
                self._stopping.wait(fault.delay_s(size, connection))

    # What it was asked

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Around one answer, its record included."""
        with self._lock:
            self._num_answering += 1
        try:
            yield
        finally:
            with self._answered:
                self._num_answering -= 1
                self._answered.notify_all()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests so far. A client may have its answer before its row is written: rows under way are awaited."""
        with self._answered:
            self._answered.wait_for(lambda: not self._num_answering, timeout=0.2)
            return self._requests

    def record(self, request: Request, response: Response, sent: int, started: float) -> None:
        row = {
            "host": request.host,
            "kind": request.kind,
            "path": request.path,
            "query": request.query,
            "operation": ",".join(request.operations),
            "operations": list(request.operations),
            "variables": request.variables,
            "vod": request.vod,
            "segment": request.segment,
            "status": response.status,
            "bytes": sent,
            "seconds": time.monotonic() - started,
            "at_s": started - self._started,
            "cut": response.cut_after is not None,
        }
        with self._lock:
            self._requests.append(row)

    def pages(self, vod: str | None = None) -> list[dict[str, Any]]:
        """The requests for pages of chat (of one VOD)."""
        rows = [row for row in self.requests if "VideoCommentsByOffsetOrCursor" in row["operations"]]
        return [row for row in rows if vod in (None, row["vod"])]

    def fragments(self, vod: str | None = None) -> list[dict[str, Any]]:
        """The requests for media segments (of one VOD)."""
        return [row for row in self.requests if row["segment"] is not None and vod in (None, row["vod"])]

    @property
    def credentials(self) -> dict[str, str]:
        """The variables of the public API's client, which the fixture does not set."""
        return {"TWITCH_CLIENT_ID": self.helix.client_id, "TWITCH_CLIENT_SECRET": self.helix.client_secret}

    def stop(self) -> None:
        self._stopping.set()
        self.proxy.stop()

    def _environment(self, authority: Authority, folder: Path) -> dict[str, str]:
        """Variables that lead any client here. yt-dlp trusts certifi's list unless its option no-certifi is set, which
        its command reads from XDG_CONFIG_HOME; its Python interface takes it as compat_opts."""
        certificate = folder / "authority.pem"
        certificate.write_bytes(authority.pem)
        settings = folder / "config" / "yt-dlp" / "config"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text("--compat-options no-certifi\n")
        address = self.proxy.address
        made = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), address)
        made |= dict.fromkeys(("ALL_PROXY", "all_proxy"), address)
        made |= {"NO_PROXY": "", "no_proxy": ""}
        made |= {name: str(certificate) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
        return made | {"SSL_CERT_DIR": str(folder / "none"), "XDG_CONFIG_HOME": str(folder / "config")}


class Authority:
    """A throw-away certificate authority and one leaf for every name that the service stands in for."""

    def __init__(self) -> None:
        import trustme

        authority = trustme.CA(organization_name="loopback Twitch, for tests only")
        leaf = authority.issue_cert(*HOSTS, "*.cloudfront.net")
        self.pem: bytes = authority.cert_pem.bytes()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(self.context)
