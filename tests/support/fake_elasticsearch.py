"""An Elasticsearch that answers what a test tells it to: the bulk API and a little more, in-process."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import orjson


@dataclass
class Request:
    """One request that came in."""

    method: str
    path: str
    query: str
    headers: dict
    body: bytes
    port: int = 0  # the client's: tells connections apart

    @property
    def pairs(self):
        """The (action, document) pairs of a bulk request, as bytes."""
        lines = self.body.split(b"\n")
        assert lines.pop() == b"", "a bulk body ends with a newline"
        return list(zip(lines[::2], lines[1::2], strict=True))


class CutError(Exception):
    """End the connection instead of answering."""


@dataclass
class Reply:
    """What to answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict = field(default_factory=dict)


def error(status, kind="some_exception", reason="no reason", **headers):
    """A reply that refuses a whole request."""
    body = {"error": {"type": kind, "reason": reason}, "status": status}
    return Reply(
        status, orjson.dumps(body), {key.replace("_", "-"): v for key, v in headers.items()}
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the tests


class FakeElasticsearch:
    """A server on loopback; use it as a context.

    ``script`` holds what the next bulk requests get: a ``Reply``, an exception to cut the connection, or
    a function of (request, the reply that would have been) that returns one of these.  ``judge`` is
    asked for each document: (identity, document) → None, or (status, type, reason).  ``routes`` maps
    (method, path) to a ``Reply`` or a function of the request.
    """

    def __init__(self, context=None):
        self.script = []
        self.judge = lambda identity, document: None
        self.routes = {}
        self.max_bytes = None
        self.requests = []
        self.documents = {}  # (index, identity) → document, in order of arrival
        self.release = threading.Event()  # what hangs waits for it
        self._lock = threading.Lock()
        self._links = set()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                fake._links.add(self.connection)

            def finish(self):
                fake._links.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def log_message(self, *args):
                pass

            def do(self):
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                if self.headers.get("content-encoding") == "gzip":
                    body = zlib.decompress(body, wbits=31)
                url = urlsplit(self.path)
                headers = {key.lower(): value for key, value in self.headers.items()}
                request = Request(
                    self.command, url.path, url.query, headers, body, self.client_address[1]
                )
                try:
                    reply = fake.answer(request)
                except CutError:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(reply.status)
                for key, value in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else reply.body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._scheme = "http"
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self):
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def bulks(self):
        """The bulk requests so far."""
        return [request for request in self.requests if request.path.endswith("/_bulk")]

    @property
    def lines(self):
        """The documents so far."""
        return list(self.documents.values())

    def read(self):
        """The documents, asked for over HTTP: works in the child of a fork, too."""
        with urllib.request.urlopen(f"{self.url}/_lines", timeout=10) as answer:
            return [bytes.fromhex(one) for one in json.load(answer)]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.release.set()
        self._server.shutdown()
        self.hang_up()
        self._server.server_close()
        self._thread.join()

    def hang_up(self):
        """Close every connection, as a proxy does with idle ones."""
        for link in list(self._links):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    # -- answers ----------------------------------------------------------------------------------

    def answer(self, request):
        if request.path == "/_lines":
            return Reply(body=json.dumps([line.hex() for line in self.lines]).encode())
        self.requests.append(request)
        route = self.routes.get((request.method, request.path))
        if route is not None:
            return route(request) if callable(route) else route
        if not request.path.endswith("/_bulk"):
            return error(404, "resource_not_found_exception", f"{request.method} {request.path}")
        with self._lock:
            step = self.script.pop(0) if self.script else None
        if isinstance(step, Reply):
            return step
        if isinstance(step, Exception) or (isinstance(step, type) and step is CutError):
            raise CutError
        if callable(step):
            return step(request, self.index)
        return self.index(request)

    def index(self, request):
        """What a healthy server does with a bulk request."""
        if self.max_bytes is not None and len(request.body) > self.max_bytes:
            return Reply(413, b"")
        target = request.path.rpartition("/")[0].strip("/")
        found = []
        for action, document in request.pairs:
            create = orjson.loads(action)["create"]
            found.append(self._create(create.get("_index", target), create["_id"], document))
        body = {
            "errors": any(item["create"]["status"] >= 300 for item in found),
            "items": found,
        }
        return Reply(body=orjson.dumps(body))

    def _create(self, index, identity, document):
        verdict = self.judge(identity, document)
        with self._lock:
            if verdict is None and (index, identity) in self.documents:
                verdict = (409, "version_conflict_engine_exception", "document already exists")
            if verdict is None:
                self.documents[index, identity] = document
                return {"create": {"status": 201}}
        status, kind, reason = verdict
        return {"create": {"status": status, "error": {"type": kind, "reason": reason}}}
