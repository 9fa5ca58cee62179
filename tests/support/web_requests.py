"""Requests without a server: what an ASGI or WSGI server would do, step by step, under the test's control."""

from __future__ import annotations

import asyncio
import io

from pylog_struct.bound_logger import hold_below
from pylog_struct.web import flight

DISCONNECT = {"type": "http.disconnect"}


def scope_of(path="/", *, headers=(), **more):
    """An HTTP scope; header names and values as text."""
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": pairs,
        "client": ("192.0.2.7", 4321),
        "server": ("127.0.0.1", 80),
        **more,
    }


def socket_of(path="/ws", **more):
    """A websocket's scope."""
    scope = scope_of(path, **more)
    del scope["method"]
    return {**scope, "type": "websocket", "scheme": "ws"}


class Peer:
    """The server's side of one connection."""

    def __init__(self, *messages):
        self.incoming = list(messages) or [
            {"type": "http.request", "body": b"", "more_body": False}
        ]
        self.sent = []
        self.gone = False

    async def receive(self):
        if self.incoming:
            return self.incoming.pop(0)
        return DISCONNECT

    async def send(self, message):
        if self.gone:
            raise OSError("the client is gone")
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    def call(self, app, scope):
        """Run the application in a loop and a context of its own."""
        asyncio.run(app(scope, self.receive, self.send))
        return self


async def answer(send, body=b"ok", status=200, headers=()):
    """Send a response in one piece."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def hello(_scope, _receive, send):
    """An application."""
    await answer(send)


def environ_of(path="/", **more):
    """A WSGI environ."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4321",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **more,
    }


class WSGIPeer:
    """A WSGI server that does what PEP 3333 says, for one request."""

    def __init__(self):
        self.status = ""
        self.headers = {}
        self.body = b""
        self.headers_sent = False

    def start_response(self, status, headers, exc_info=None):
        if exc_info is not None and self.headers_sent:
            raise exc_info[1]
        assert exc_info is not None or not self.status, "start_response was called twice"
        self.status, self.headers = status, {name.lower(): value for name, value in headers}
        return self.write

    def write(self, data):
        assert self.status, "start_response was not called"
        self.headers_sent = True
        self.body += data

    def call(self, app, environ, *, parts=None):
        """Run the request; *parts* says after how many of them the client leaves."""
        result = app(environ, self.start_response)
        try:
            for number, data in enumerate(result):
                if number == parts:
                    break
                self.write(data)
        finally:
            if hasattr(result, "close"):
                result.close()
        return self


def forget_recorders():
    """Give the bound logger its own methods back."""
    flight._HOOK.forget()
    hold_below(None)
