"""An HTTP server that answers as it is told and keeps what it got."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """One request, with its body unpacked."""

    path: str
    headers: dict
    body: bytes
    raw: bytes = b""
    connection: int = 0

    @property
    def lines(self):
        return self.body.split(b"\n")[:-1]


@dataclass
class Reply:
    """What to answer; *ending* "close" hangs up afterwards, "cut" instead, "stall" never answers."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict = field(default_factory=dict)
    ending: str = "keep"


class HttpPeer:
    """A server on loopback.

    Args:
        answer: A function of a ``Request`` that returns a ``Reply`` or a status.
        context: An ``SSLContext`` to be an HTTPS server with.
        copy: The path of a file to append accepted bodies to.
    """

    def __init__(self, answer=lambda request: 200, *, context=None, copy=None, port=0):
        self.answer = answer
        self.requests = []
        self.accepted = []
        self._copy = copy
        self._released = threading.Event()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                peer.serve(self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False
            block_on_close = True

            def get_request(self):
                sock, address = super().get_request()
                sock.settimeout(20)
                with peer.lock:
                    peer.open.append(sock)
                if context is not None:
                    sock = context.wrap_socket(
                        sock, server_side=True, do_handshake_on_connect=False
                    )
                    with peer.lock:
                        peer.open[-1] = sock
                return sock, address

            def handle_error(self, *_):
                pass

        self.lock = threading.Lock()
        self.open = []
        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="http-peer"
        )
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self.hang_up()
        self._server.server_close()

    def hang_up(self):
        """Close every connection."""
        with self.lock:
            for sock in self.open:
                try:
                    sock.shutdown(2)
                except OSError:
                    continue
            self.open.clear()

    def url(self, path="/logs", scheme="http"):
        host = "127.0.0.1" if scheme == "http" else "localhost"
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def lines(self):
        """The lines of all bodies that were answered with 2xx."""
        return [line for request in self.accepted for line in request.lines]

    def serve(self, handler):
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        packed = handler.headers.get("Content-Encoding") == "gzip"
        request = Request(
            handler.path,
            dict(handler.headers),
            gzip.decompress(raw) if packed else raw,
            raw,
            handler.client_address[1],
        )
        self.requests.append(request)
        reply = self.answer(request)
        if isinstance(reply, int):
            reply = Reply(reply)
        if reply.ending == "stall":
            self._released.wait(20)
            handler.close_connection = True
            return
        if 200 <= reply.status < 300:
            self.accepted.append(request)
            if self._copy is not None:
                with self._copy.open("ab") as file:
                    file.write(request.body)
        if reply.ending == "cut":
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        handler.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body)
        if reply.ending == "close":
            handler.close_connection = True
