"""A streaming response of Django's, listened to: its bytes and its end, with the request's ids bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pylog_struct.web._request.exchange import _unbind as unbind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pylog_struct.web._request.exchange import Exchange, RequestCore

__all__ = ["listen", "unbind"]


def listen(
    response: Any,
    core: RequestCore,
    exchange: Exchange,
    run: Callable[..., Any],
    leave: Callable[[], None],
) -> None:
    """Put what counts around the iterator of *response*.

    Args:
        response: A ``StreamingHttpResponse``.
        core: Of the middleware.
        exchange: Whose ids are not bound any more when the iterator runs.
        run: Calls a function in the context of the request.
        leave: Ends the request.
    """
    end = _End(core, exchange, run, leave)
    if getattr(response, "file_to_stream", None) is not None:
        # The server may send it by sendfile(2): an iterator around it would be in the way.
        length = response.headers.get("Content-Length", "")
        exchange.response_bytes = int(length) if length.isdecimal() else 0
        end.is_whole = True
        response.close = _closing(response.close, end)
    elif response.is_async:
        response.streaming_content = _AsyncStream(response.streaming_content, end)
    else:
        response.streaming_content = _Stream(response.streaming_content, end)


class _End:
    """The end of a response; the first one counts."""

    def __init__(
        self,
        core: RequestCore,
        exchange: Exchange,
        run: Callable[..., Any],
        leave: Callable[[], None],
    ) -> None:
        self.core = core
        self.exchange = exchange
        self.run = run
        self._leave = leave
        self._ended = False
        self.is_whole = exchange.method == "HEAD"  # else the last chunk says so

    def __call__(self) -> None:
        """End the request, in its context."""
        if self._ended:
            return
        self._ended = True
        exchange = self.exchange
        if not self.is_whole and exchange.error is None:
            exchange.left = True
        self.run(self._bound_leave)

    def bind(self) -> None:
        self.core._bind(self.exchange)

    def _bound_leave(self) -> None:
        self.bind()
        self._leave()

    def broke(self, error: BaseException) -> None:
        """Note what came out of the iterator."""
        self.core.broke(self.exchange, error)
        self.exchange.left = not isinstance(error, Exception)


def _closing(close: Callable[[], None], end: _End) -> Callable[[], None]:
    def closing() -> None:
        try:
            close()
        finally:
            end()

    return closing


class _Stream:
    """A synchronous iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes], end: _End) -> None:
        self._chunks = chunks
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        end = self._end
        try:
            chunk: bytes = end.run(self._next)
        except StopIteration:
            end.is_whole = True
            end()
            raise
        except BaseException:
            end()
            raise
        end.exchange.response_bytes += len(chunk)
        return chunk

    def _next(self) -> bytes:
        end = self._end
        end.bind()
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException as error:
            end.broke(error)
            raise
        finally:
            unbind(end.exchange)

    def close(self) -> None:
        """End, if the last chunk was not asked for."""
        self._end()


class _AsyncStream:
    """An asynchronous one; it runs in its caller's context, with the ids bound for each step."""

    def __init__(self, chunks: AsyncIterator[bytes], end: _End) -> None:
        self._chunks = chunks
        self._end = end

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        end = self._end
        end.bind()
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            end.is_whole = True
            unbind(end.exchange)
            end()
            raise
        except BaseException as error:
            end.broke(error)
            unbind(end.exchange)
            end()
            raise
        unbind(end.exchange)
        end.exchange.response_bytes += len(chunk)
        return chunk

    def close(self) -> None:
        """End, if the last chunk was not asked for."""
        self._end()
