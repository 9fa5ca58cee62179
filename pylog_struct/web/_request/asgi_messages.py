"""What goes between an ASGI server and an application, listened to: one object a connection.

Each has the ``receive`` and ``send`` that the application gets, notes on the exchange what passes, adds
the id to the response's header, and writes the access event behind the last byte.
"""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.web._request.route import route_of_scope

if TYPE_CHECKING:
    from pylog_struct.web._request.exchange import Exchange, RequestCore

__all__ = ["Response", "Socket", "with_header"]

_ERROR: Final = b"Internal Server Error"
_NORMAL_CLOSURE: Final = 1000  # RFC 6455, section 7.4.1
_NO_STATUS: Final = 1005
_ABNORMAL: Final = frozenset({1006, 1015})
_INTERNAL_ERROR: Final = 1011


def with_header(message: Any, name: bytes, value: bytes) -> Any:
    """Return the start of a response with a header, once; *message* itself stays as it is."""
    kept = [pair for pair in message.get("headers") or () if pair[0] != name]
    kept.append((name, value))
    return {**message, "headers": kept}


class _Listener:
    """What the two kinds of connections have in common."""

    __slots__ = ("_core", "_exchange", "_header", "_receive", "_root", "_scope", "_send")

    def __init__(
        self,
        core: RequestCore,
        exchange: Exchange,
        name: bytes,
        scope: Any,
        receive: Any,
        send: Any,
    ) -> None:
        self._core = core
        self._exchange = exchange
        self._header = (name, exchange.request_id.encode("ascii"))
        self._scope = scope
        self._root: str = scope.get("root_path") or ""
        self._receive = receive
        self._send = send

    def _finish(self) -> None:
        exchange = self._exchange
        if not exchange.logged:
            exchange.route = route_of_scope(self._scope, self._root)
            self._core.finish(exchange)


class Response(_Listener):
    """An HTTP request and its response."""

    __slots__ = ("_bodiless", "_ended", "_read", "_started", "_trailers")

    def __init__(self, *of_connection: Any) -> None:
        super().__init__(*of_connection)
        self._bodiless = self._exchange.method == "HEAD"
        self._read = self._started = self._ended = self._trailers = False

    async def receive(self) -> Any:
        """Pass on what the client sent."""
        message = await self._receive()
        kind = message["type"]
        if kind == "http.request":
            self._exchange.request_bytes += len(message.get("body") or b"")
            self._read = not message.get("more_body")
        elif kind == "http.disconnect" and not self._ended:  # after the end it says nothing
            self._exchange.left = True
        return message

    async def send(self, message: Any) -> None:
        """Pass on what the application answers."""
        kind = message["type"]
        exchange = self._exchange
        last = False
        if kind == "http.response.body":
            if not self._bodiless:
                exchange.response_bytes += len(message.get("body") or b"")
            last = not message.get("more_body") and not self._trailers
        elif kind == "http.response.start":
            if not self._started:
                self._started = True
                if not exchange.left:  # else nobody will see it
                    exchange.status = int(message["status"])
                self._trailers = bool(message.get("trailers"))
                message = with_header(message, *self._header)
        elif kind == "http.response.trailers":
            last = not message.get("more_trailers")
        elif kind == "http.response.zerocopysend":
            exchange.response_bytes += message.get("count") or 0
            last = not message.get("more_body") and not self._trailers
        elif kind == "http.response.pathsend":
            last = not self._trailers
        if last:
            self._ended = True
        try:
            await self._send(message)
        except OSError:  # how a server says that the client is gone
            exchange.left = True
            raise
        if last and exchange.status < 500:  # else the exception behind it may still come
            exchange.ended = perf_counter_ns()
            self._close()

    async def answer(self) -> None:
        """Send the response that the application owes, if nothing went out yet."""
        if self._started or self._exchange.left:
            return
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(_ERROR)),
        ]
        with suppress(Exception):  # the client may be gone; the application's error is what counts
            await self.send({"type": "http.response.start", "status": 500, "headers": headers})
            await self.send({"type": "http.response.body", "body": _ERROR})

    def end(self) -> None:
        """Say how it ended, when the application has returned."""
        exchange = self._exchange
        if not (self._ended or exchange.left or exchange.given_up):
            exchange.unfinished = True
        self._close()

    def _close(self) -> None:
        exchange = self._exchange
        if not self._read and exchange.declared > exchange.request_bytes:
            exchange.request_bytes = exchange.declared
        self._finish()


class Socket(_Listener):
    """A websocket, from the handshake to its close."""

    __slots__ = ("_accepted",)

    def __init__(self, *of_connection: Any) -> None:
        super().__init__(*of_connection)
        self._accepted = False

    async def receive(self) -> Any:
        """Pass on what the client sent."""
        message = await self._receive()
        kind = message["type"]
        exchange = self._exchange
        if kind == "websocket.receive":
            exchange.request_bytes += _size(message)
        elif kind == "websocket.disconnect" and not exchange.logged:
            code = message.get("code", _NO_STATUS)
            if self._accepted:
                exchange.close_code = code
            exchange.left = code in _ABNORMAL or not self._accepted
            self._finish()
        return message

    async def send(self, message: Any) -> None:
        """Pass on what the application sends."""
        kind = message["type"]
        exchange = self._exchange
        last = False
        if kind == "websocket.send":
            exchange.response_bytes += _size(message)
        elif kind == "websocket.accept":
            self._accepted = True
            exchange.status = 101
            message = with_header(message, *self._header)
        elif kind == "websocket.close":
            if self._accepted:
                exchange.close_code = message.get("code", _NORMAL_CLOSURE)
            else:
                exchange.status = 403  # as the specification has it
            last = True
        elif kind == "websocket.http.response.start":
            exchange.status = int(message["status"])
            message = with_header(message, *self._header)
        elif kind == "websocket.http.response.body":
            exchange.response_bytes += len(message.get("body") or b"")
            last = not message.get("more_body")
        try:
            await self._send(message)
        except OSError:
            exchange.left = True
            raise
        if last:
            self._finish()

    async def answer(self) -> None:
        """Leave it to the server: it closes the connection as the exception asks for."""

    def end(self) -> None:
        """Say how it ended, when the application has returned without a close."""
        exchange = self._exchange
        if not exchange.logged and self._accepted:
            if exchange.error is not None:
                exchange.close_code = _INTERNAL_ERROR
            elif not exchange.left and not exchange.given_up:
                exchange.close_code = _NORMAL_CLOSURE
        self._finish()


def _size(message: Any) -> int:
    data = message.get("bytes")
    if data is not None:
        return len(data)
    text = message.get("text") or ""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
