"""A TLS-terminating CONNECT proxy: any client that honours HTTPS_PROXY reaches the loopback service by the real names.

CONNECT to a host that the service stands in for is answered 200, the tunnel's TLS is ended here with a leaf of the
throw-away authority, and its requests (with keep-alive) go to the service. CONNECT to any other host, and plain HTTP,
are answered 502 and recorded: nothing leaves the machine.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from .messages import Request, Response

if TYPE_CHECKING:
    from .server import LoopbackTwitch

CHUNK = 16_384  # bytes written at once, the grain of the throughput limit


class Handler(BaseHTTPRequestHandler):
    """One connection to the proxy: a CONNECT, then HTTPS requests inside of it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for a delayed ACK
    server: ProxyServer
    tunnel = ""  # the host behind the CONNECT

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.closed(self.connection)
            self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client went away, or the server is closing; ssl.SSLError is an OSError too
            self.close_connection = True

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0].lower()
        if self.tunnel or not self.server.twitch.kind_of(host):
            self.refuse(host)
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.server.closed(self.connection)
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.server.opened(self.connection)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = socketserver._SocketWriter(self.connection)  # type: ignore[attr-defined]
        self.tunnel = host
        self.close_connection = False  # whatever HTTP version the CONNECT had

    def refuse(self, host: str) -> None:
        self.server.twitch.foreign.append(host)
        self.send_error(502, "Not a host of the loopback Twitch")
        self.close_connection = True

    def do_GET(self) -> None:
        self.serve()

    do_POST = do_GET
    do_HEAD = do_GET

    def serve(self) -> None:
        started = time.monotonic()
        if not self.tunnel:
            self.refuse(urlsplit(self.path).hostname or self.path)
            return
        address = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-length") and hasattr(socket, "TCP_QUICKACK"):
            # urllib3 keeps Nagle's algorithm where there is a proxy: without an acknowledgement of the headers at once
            # each body would come 40 ms later.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        body = self.rfile.read(int(headers.get("content-length") or 0))
        pairs = parse_qsl(address.query, keep_blank_values=True)
        twitch = self.server.twitch
        request = Request(twitch.kind_of(self.tunnel), self.tunnel, self.command, address.path, pairs, headers, body)
        with twitch.answering():
            response = twitch.respond(request)
            sent = 0
            try:
                sent = self.send(request, response)
            finally:
                twitch.record(request, response, sent, started)

    def send(self, request: Request, response: Response) -> int:
        """Write the response at the pace that the service states; returns the bytes of the body that went out."""
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return 0
        body = response.body if response.cut_after is None else response.body[: response.cut_after]
        sent = 0
        for start in range(0, len(body), CHUNK):
            chunk = body[start : start + CHUNK]
            self.server.twitch.pace(request, len(chunk), self.connection)
            self.wfile.write(chunk)
            sent += len(chunk)
        if response.cut_after is not None:
            self.close_connection = True
        return sent

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the service keeps its own list of requests."""


class ProxyServer(ThreadingHTTPServer):
    """The listening end on 127.0.0.1, a thread a connection; `stop` ends the open ones and joins every thread."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, twitch: LoopbackTwitch, context: ssl.SSLContext) -> None:
        self.twitch = twitch
        self.context = context
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A fault of the loopback itself; the fixture fails the test over it."""
        import traceback

        self.twitch.crashes.append(traceback.format_exc())

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        with self._lock:
            left = list(self._open)
        for connection in left:
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                continue
        self.server_close()
