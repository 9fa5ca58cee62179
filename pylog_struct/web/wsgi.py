"""Request middleware for WSGI: ids, context variables and one access event a request.

Source: PEP 3333.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from pylog_struct import diagnostics
from pylog_struct.errors import ConfigError
from pylog_struct.web._request.exchange import REQUEST_ID_KEY, TRACE_KEY, Exchange, RequestCore
from pylog_struct.web._request.wsgi_response import CountedInput, Response

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from pylog_struct.web._http import WSGIApp
    from pylog_struct.web._request.options import RequestKeywords

__all__ = ["WSGIRequestMiddleware"]


class WSGIRequestMiddleware:
    """Does for WSGI what :class:`~pylog_struct.web.RequestMiddleware` does for ASGI.

    Everything of a request (the application's call, its iterable, its ``close``) runs in a context of
    its own, a copy of the server's: nothing that is bound there reaches the next request of the
    thread, even if the server never calls ``close``.

    The access event is logged when the server closes the response, with the time until then.  If the
    application returned ``wsgi.file_wrapper``, the server's quick way of sending files is kept.

    An exception is raised again and reported by nobody but the server, whose line has the id.  If
    there was no response yet, the middleware answers with 500 itself, so that the header is there.

    Args:
        app: A WSGI application.
        options: The keywords of :class:`~pylog_struct.web.RequestMiddleware`, all of them.

    Raises:
        ConfigError: *app* cannot be called, an option is unknown, or its value nonsense.

    Threads: one instance serves any number of requests at once.  Blocks: as a log call.
    Raises to the server: what the application raised, and nothing else.
    Source: PEP 3333.
    """

    def __init__(self, app: WSGIApp, **options: Unpack[RequestKeywords]) -> None:
        if not callable(app):
            raise ConfigError(f"WSGIRequestMiddleware.app: {app!r} is no WSGI application")
        self.app = app
        self._core = RequestCore("WSGIRequestMiddleware", options)
        self._variable = "HTTP_" + self._core.header.upper().replace("-", "_")

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        if REQUEST_ID_KEY in environ:
            return self.app(environ, start_response)
        context = copy_context()
        exchange = context.run(self._begin, environ)
        response = Response(self._core, exchange, context, environ, start_response)
        result: Iterable[bytes] = response.of(self.app)
        return result

    def _begin(self, environ: Any) -> Exchange:
        core = self._core
        get = environ.get
        exchange = core.begin(
            get(self._variable) if core.wants_id else None,
            _values(get("HTTP_TRACEPARENT")),
            _values(get("HTTP_TRACESTATE")),
        )
        environ[REQUEST_ID_KEY] = exchange.request_id
        if exchange.trace is not None:
            environ[TRACE_KEY] = exchange.trace
        try:
            self._describe(exchange, environ)
        except Exception as error:  # an environ that is not as specified has less to say
            diagnostics.report("wsgi environ", "an environ could not be read in full", error)
        return exchange

    def _describe(self, exchange: Exchange, environ: Any) -> None:
        get = environ.get
        exchange.method = get("REQUEST_METHOD") or ""
        exchange.path = _text(get("SCRIPT_NAME") or "") + _text(get("PATH_INFO") or "")
        exchange.query = get("QUERY_STRING") or ""
        exchange.scheme = get("wsgi.url_scheme") or ""
        exchange.http_version = (get("SERVER_PROTOCOL") or "").removeprefix("HTTP/")
        exchange.user_agent = _text(get("HTTP_USER_AGENT") or "")
        length = get("CONTENT_LENGTH") or ""
        if length.isascii() and length.isdigit() and len(length) < 20:
            exchange.request_bytes = int(length)
        elif "wsgi.input" in environ and get("HTTP_TRANSFER_ENCODING"):
            environ["wsgi.input"] = CountedInput(environ["wsgi.input"], exchange)
        port = get("REMOTE_PORT")
        number = int(port) if isinstance(port, str) and port.isdecimal() else port
        exchange.address, exchange.port = self._core.client(
            get("REMOTE_ADDR") or "",
            number if isinstance(number, int) else None,
            lambda name: _values(get("HTTP_" + name.upper().replace("-", "_"))),
        )


def _values(value: str | None) -> tuple[str, ...]:
    """Return the values of a header: of several of one name, servers make one with commas."""
    return () if value is None else (value,)


def _text(value: str) -> str:
    """Undo what PEP 3333 does to bytes: it has them as Latin-1."""
    return (
        value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")
    )
