"""A WSGI response, listened to: its status, its bytes, its end; in the context of its request."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.web._request.route import route_of_environ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Context

    from pylog_struct.web._http import WSGIApp
    from pylog_struct.web._request.exchange import Exchange, RequestCore

__all__ = ["CountedInput", "Response"]

_ERROR: Final = b"Internal Server Error"
_BODILESS: Final = frozenset({204, 304})


class Response:
    """One request's response.

    Args:
        core: Of the middleware.
        exchange: Begun in *context*.
        context: Everything of the request runs in it.
        environ: Of the request.
        start_response: The server's.
    """

    def __init__(
        self,
        core: RequestCore,
        exchange: Exchange,
        context: Context,
        environ: Any,
        start_response: Any,
    ) -> None:
        self._core = core
        self._exchange = exchange
        self._run = context.run
        self._environ = environ
        self._start_response = start_response
        self._write: Any = None
        self._length: int | None = None  # what the response's own Content-Length says
        self._is_whole = False
        self._left = False

    def of(self, app: WSGIApp) -> Any:
        """Call the application, and return what the server iterates over."""
        try:
            result = self._run(app, self._environ, self._start)
        except BaseException as error:
            self._broke(error)
            if isinstance(error, Exception):
                self._answer()
            self.leave()
            raise
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(result, wrapper) and self._watches(result):
            return result
        try:
            return (SizedBody if hasattr(result, "__len__") else Body)(self, result)
        except BaseException as error:  # iter() of it is the application's code
            self._broke(error)
            self.leave()
            raise

    # -- the application's side -------------------------------------------------------------------

    def _start(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        name = self._core.header
        lower = name.lower()
        kept = [pair for pair in headers if pair[0].lower() != lower]
        kept.append((name, self._exchange.request_id))
        if exc_info is None:
            write = self._start_response(status, kept)
        else:
            write = self._start_response(status, kept, exc_info)  # raises it if it is too late
        number = status[:3]
        self._exchange.route = route_of_environ(self._environ)  # at its end Flask forgets it
        self._exchange.status = int(number) if number.isdecimal() else 0
        declared = [value for key, value in headers if key.lower() == "content-length"]
        self._length = int(declared[0]) if declared and declared[0].isdecimal() else None
        self._write = write
        return self._written

    def _written(self, data: bytes) -> Any:
        done = self._write(data)
        self.count(data)
        return done

    def count(self, data: bytes) -> None:
        """Note bytes of the body."""
        if self._exchange.method != "HEAD":
            self._exchange.response_bytes += len(data)

    def _answer(self) -> None:
        """Send the response that the application owes, if nothing went out yet."""
        if self._write is not None:
            return
        with suppress(Exception):  # the client may be gone; the application's error is what counts
            headers = [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(_ERROR))),
            ]
            self._run(self._start, "500 Internal Server Error", headers)
            self._run(self._written, b"" if self._exchange.method == "HEAD" else _ERROR)

    # -- the server's side ------------------------------------------------------------------------

    def iterate(self, result: Any) -> Iterator[bytes]:
        """Return the iterator over the application's *result*."""
        iterator: Iterator[bytes] = self._run(iter, result)
        return iterator

    def next(self, iterator: Iterator[bytes]) -> bytes:
        """Return the next part of the body."""
        try:
            data = self._run(next, iterator)
        except StopIteration:
            self._is_whole = True
            raise
        except BaseException as error:
            self._broke(error)
            raise
        self.count(data)
        return data

    def close(self, close: Any) -> None:
        """Close the application's result with *close*, and end the request."""
        try:
            if close is not None:
                self._run(close)
        except BaseException as error:
            self._broke(error)
            raise
        finally:
            self.leave()

    def leave(self) -> None:
        """End the request, the first time that this is called."""
        if not self._left:
            self._left = True
            self._run(self._end)

    def _end(self) -> None:
        exchange = self._exchange
        if not exchange.status:  # start_response was never called
            exchange.unfinished = True
        elif exchange.error is None and not exchange.given_up and not self._whole():
            exchange.left = True  # the server stopped in the middle: it could not send on
        self._core.leave(exchange)

    def _whole(self) -> bool:
        exchange = self._exchange
        if self._is_whole or exchange.method == "HEAD" or exchange.status in _BODILESS:
            return True
        return self._length is not None and exchange.response_bytes >= self._length

    def _broke(self, error: BaseException) -> None:
        self._run(self._core.broke, self._exchange, error)

    def _watches(self, file: Any) -> bool:
        """Hear when the server closes *file*, whose bytes it sends in a way of its own."""
        close = getattr(file, "close", None)

        def closed() -> None:
            if self._length is not None and self._exchange.method != "HEAD":
                self._exchange.response_bytes = self._length
            self._is_whole = True
            self.close(close)

        try:
            file.close = closed
        except AttributeError:
            return False
        return True


class Body:
    """What the server iterates over: the application's result, in its context, counted."""

    def __init__(self, response: Response, result: Any) -> None:
        self._response = response
        self._result = result
        self._iterator = response.iterate(result)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._response.next(self._iterator)

    def close(self) -> None:
        """End the request."""
        self._response.close(getattr(self._result, "close", None))


class SizedBody(Body):
    """One whose length is known: servers make a ``Content-Length`` of the only part there is."""

    def __len__(self) -> int:
        return len(self._result)


class CountedInput:
    """``wsgi.input`` of a request that does not say how long its body is."""

    def __init__(self, stream: Any, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    def _counted(self, data: bytes) -> bytes:
        self._exchange.request_bytes += len(data)
        return data

    def read(self, *size: int) -> bytes:
        """Read, and count."""
        return self._counted(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        """Read a line, and count."""
        return self._counted(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        """Read lines, and count."""
        return [self._counted(line) for line in self._stream.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._counted, self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
