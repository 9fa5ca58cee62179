"""Request middleware for ASGI: ids, context variables and one access event a request.

Source: the ASGI specification 3.0 (HTTP 2.4 with its extensions, websockets 2.4, lifespan).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pylog_struct import diagnostics
from pylog_struct.errors import ConfigError
from pylog_struct.web._request.asgi_messages import Response, Socket
from pylog_struct.web._request.exchange import REQUEST_ID_KEY, TRACE_KEY, Exchange, RequestCore
from pylog_struct.web._starlette import mark_server_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Unpack

    from pylog_struct.web._http import ASGIApp
    from pylog_struct.web._request.options import RequestKeywords

__all__ = ["RequestMiddleware"]


class RequestMiddleware:
    """Gives each request an id, binds it, and logs one event when its response has ended.

    While the application handles a request, ``request_id`` (under ``format="ecs"``
    ``http.request.id``) is bound to structlog's context variables, and so is on every line of the
    request: in its handlers, sync dependencies, tasks, and threads started by ``asyncio.to_thread`` or
    a :class:`~pylog_struct.web.executor.ContextExecutor`.  A W3C trace (``trace_id``, ``span_id``) is
    bound too.  The response carries the id.  Afterwards all of it is gone, whatever happened.

    An exception of the application is raised again and reported by nobody but the server, whose line
    has the id.  If there was no response yet, and nothing around this middleware would make one, it
    answers with 500 itself, so that the header is there.

    Put it around the whole application: ``app = RequestMiddleware(FastAPI())``.  By
    ``add_middleware`` it stands inside of Starlette's ``ServerErrorMiddleware``: the 500 that this makes,
    or your handler of ``Exception``, has the header too, but its bytes are not counted.

    Args:
        app: An ASGI 3 application.
        options: The keywords below; the same for all request middleware.
        logger: The name under which access events are logged.
        header: The header that the id comes and goes by.
        trust_request_id: Take the id that the header brings, if it is 1 to 128 letters, digits and
            ``._~+/=:@-``; what of it is not, is noted under ``request_id_rejected``.
        trust_traceparent: Take the trace that ``traceparent`` brings.  OpenTelemetry's current span,
            if there is one, goes before.
        trusted_proxies: Addresses and networks whose *client_header* is believed.
        client_header: ``"X-Forwarded-For"`` or ``"Forwarded"``: the one that those proxies set.
        exclude: Paths without an access event, ``"/static/*"`` for all below one.
        sample: The share of access events that is written of requests that ended well (a status
            below 400, not slow), from 0 to 1.  The others are counted as discarded.
        level_for: A function from a status to a level, asked once for each status.  By default
            INFO, WARNING from 400 and ERROR from 500 on.
        slow: Seconds (or text) from which a request is slow: never left out, and marked.
        query: Whether the query string is logged.
        exceptions: Whether the access event carries the exception: for servers that report none.
        recorder: A :class:`~pylog_struct.web.FlightRecorder`.

    Raises:
        ConfigError: *app* cannot be called, an option is unknown, or its value nonsense.

    Threads: one instance serves any number of requests at once.  Blocks: as a log call.
    Raises to the server: what the application raised, and nothing else.
    Source: ASGI 3.0; W3C Trace Context level 1; RFC 7239.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[RequestKeywords]) -> None:
        if not callable(app):
            raise ConfigError(f"RequestMiddleware.app: {app!r} is no ASGI application")
        self.app = app
        self._core = RequestCore("RequestMiddleware", options)
        self._name = self._core.header.lower().encode("ascii")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if (kind != "http" and kind != "websocket") or REQUEST_ID_KEY in scope:  # noqa: PLR1714 - quick
            await self.app(scope, receive, send)
            return
        core = self._core
        framework = scope.get("app")  # we are inside of Starlette's, which makes its own 500
        exchange = self._begin(scope, kind)
        listener = (Response if kind == "http" else Socket)(
            core, exchange, self._name, scope, receive, send
        )
        try:
            await self.app(scope, listener.receive, listener.send)
        except BaseException as error:
            core.broke(exchange, error)
            if isinstance(error, Exception):
                if framework is None:
                    await listener.answer()
                else:
                    mark_server_errors(framework, core.header)
            raise
        finally:
            try:
                if not exchange.logged:
                    listener.end()
            finally:
                core.leave(exchange)

    def _begin(self, scope: Any, kind: str) -> Exchange:
        """Start the exchange with what the scope says; a strange scope has less to say."""
        core = self._core
        try:
            headers = scope.get("headers") or ()
            first: Mapping[bytes, bytes] = dict(headers)
        except (TypeError, ValueError) as error:
            diagnostics.report("asgi headers", "headers that are no pairs of bytes", error)
            headers, first = (), {}
        get = first.get
        given = get(self._name) if core.wants_id else None
        parents: list[str] = []
        states: list[str] = []
        if core.wants_trace and b"traceparent" in first:
            parents = _values(headers, b"traceparent")
            states = _values(headers, b"tracestate")
        exchange = core.begin(None if given is None else given.decode("latin-1"), parents, states)
        scope[REQUEST_ID_KEY] = exchange.request_id
        if exchange.trace is not None:
            scope[TRACE_KEY] = exchange.trace
        if kind == "websocket":
            exchange.event = "websocket"
        try:
            self._describe(exchange, scope, headers, get)
        except Exception as error:  # a scope that is not as specified has less to say
            diagnostics.report("asgi scope", "a scope could not be read in full", error)
        return exchange

    def _describe(
        self, exchange: Exchange, scope: Any, headers: Any, get: Callable[[bytes], bytes | None]
    ) -> None:
        core = self._core
        exchange.path = scope.get("path") or ""
        exchange.method = scope.get("method") or ""
        exchange.scheme = scope.get("scheme") or ""
        exchange.http_version = scope.get("http_version") or ""
        if core.options.query:
            exchange.query = (scope.get("query_string") or b"").decode("latin-1")
        agent = get(b"user-agent")
        if agent:
            exchange.user_agent = agent.decode("utf-8", "replace")
        length = get(b"content-length")
        if length is not None and length.isdigit() and len(length) < 20:
            exchange.declared = int(length)
        client = scope.get("client")
        peer, port = client or ("", None)
        if core.proxies is not None:
            peer, port = core.client(
                peer, port, lambda name: _values(headers, name.encode("ascii"))
            )
        exchange.address, exchange.port = peer, port


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]
