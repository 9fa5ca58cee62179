"""A request from its first line to its access event: what ASGI, WSGI and Django have in common.

A front end (``asgi``, ``wsgi``, ``django``) has one :class:`RequestCore`.  For each request it calls
:meth:`RequestCore.begin`, fills in what it knows of the request, runs the application, notes on the
:class:`Exchange` what happens (status, bytes, a client that left), and calls, in this order:

- :meth:`RequestCore.finish` when the last byte of the response is out: the access event;
- :meth:`RequestCore.broke` in ``except BaseException``, before it raises the exception again;
- :meth:`RequestCore.leave` in ``finally``, in the context that ``begin`` was called in.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct._exception_context import leave_context
from pylog_struct.web._request.access import (
    CANCELLED,
    COMPLETED,
    DISCONNECTED,
    FAILED,
    AccessLog,
    ids_of,
)
from pylog_struct.web._request.names import current_names
from pylog_struct.web._request.options import Options
from pylog_struct.web._request.request_id import IDS, accepted_id, rejected_id
from pylog_struct.web._request.trace_context import (
    Trace,
    parse_traceparent,
    parse_tracestate,
    telemetry_ids,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextvars import ContextVar, Token

    from pylog_struct.web._request.options import RequestKeywords
    from pylog_struct.web.flight import Recording

__all__ = ["CLIENT_CLOSED", "REQUEST_ID_KEY", "TRACE_KEY", "Exchange", "RequestCore"]

REQUEST_ID_KEY: Final = "pylog_struct.request_id"
"""Where a request's id is in the ASGI scope and the WSGI environ; its presence says that a middleware
of ours is at work already."""

TRACE_KEY: Final = "pylog_struct.trace"
"""Where the :class:`Trace` is, if the request is part of one."""

CLIENT_CLOSED: Final = 499
"""The status of a request whose client left before there was one: nginx's number, sent to nobody."""


class Exchange:
    """One request and its response; the front end fills it in."""

    __slots__ = (
        "_recording", "_tokens", "address", "close_code", "declared", "ended", "error", "event", "excluded",
        "given_up", "http_version", "left", "logged", "method", "path", "port", "query", "rejected",
        "request_bytes", "request_id", "response_bytes", "route", "scheme", "started", "status",
        "trace", "unfinished", "user_agent",
    )  # fmt: skip

    def __init__(self, request_id: str, trace: Trace | None, rejected: str | None) -> None:
        self.request_id = request_id
        self.trace = trace
        self.rejected = rejected
        """What is kept of an id that a trusted peer sent and that cannot be used."""
        self.event = "request"
        self.method = ""
        self.path = ""
        self.query = ""
        self.scheme = ""
        self.http_version = ""
        self.address = ""
        self.port: int | None = None
        self.user_agent = ""
        self.route: str | None = None
        """The template that matched, such as ``/items/{id}``; never the path itself."""
        self.declared = 0
        """Bytes that the body has if ``Content-Length`` is right."""
        self.request_bytes = 0
        """Of its body."""
        self.response_bytes = 0
        self.status = 0
        """0 until the application has set one; :meth:`RequestCore.finish` decides what is left at 0."""
        self.close_code: int | None = None
        self.left = False
        """The client went away before the end of the response."""
        self.given_up = False
        """The server cancelled the request."""
        self.unfinished = False
        """The application returned without the end of its response."""
        self.error: BaseException | None = None
        self.excluded = False
        """There is to be no access event."""
        self.logged = False
        self.started = perf_counter_ns()
        self.ended = 0
        self._tokens: tuple[tuple[ContextVar[Any], Token[Any]], ...] = ()
        self._recording: Recording | None = None

    @property
    def nanoseconds(self) -> int:
        """How long it took, up to the last byte of the response."""
        return self.ended - self.started

    @property
    def outcome(self) -> str:
        """How it ended: one of the four words of ``_access``."""
        if self.left:
            return DISCONNECTED
        if self.given_up:
            return CANCELLED
        if self.error is not None or self.status >= 500 or self.unfinished:
            return FAILED
        return COMPLETED


class RequestCore:
    """What all requests of one middleware have in common.

    Args:
        owner: The name of the middleware's class, for errors.
        given: The keywords that its user wrote.

    Attributes:
        header: The name of the header with the id, as it is sent.
        wants_trace: Whether ``traceparent`` is to be read.
        proxies: Whose word about the client counts; None for nobody's.

    Raises:
        ConfigError: an option is unknown, or its value nonsense.

    Threads: thread-safe.  None of its methods raises, unless ``configure(strict=True)``.
    """

    def __init__(self, owner: str, given: RequestKeywords) -> None:
        options = self.options = Options(owner, given)
        self.header = options.header
        self.wants_id = options.trust_request_id
        self.wants_trace = options.trust_traceparent
        self.proxies = options.proxies
        self._access = AccessLog(options)
        self._recorder = options.recorder
        self._excludes = bool(options.excluded or options.excluded_prefixes)

    def begin(
        self,
        request_id: str | None = None,
        traceparents: Sequence[str] = (),
        tracestates: Sequence[str] = (),
    ) -> Exchange:
        """Start a request: find its ids, and bind them to structlog's context variables.

        Args:
            request_id: The value of the header, if there was one; looked at only if it is trusted.
            traceparents: The values of all ``traceparent`` headers; more than one are none.
            tracestates: Those of ``tracestate``.
        """
        known = rejected = None
        if request_id is not None and self.wants_id:
            known = accepted_id(request_id)
            if known is None:
                rejected = rejected_id(request_id)
        trace = telemetry_ids()
        if trace is None and self.wants_trace and len(traceparents) == 1:
            trace = parse_traceparent(traceparents[0])
            if trace is not None and tracestates:
                state = parse_tracestate(tracestates)
                trace = Trace(trace.trace_id, trace.span_id, sampled=trace.sampled, state=state)
        exchange = Exchange(known or IDS.new(), trace, rejected)
        self._bind(exchange)
        if self._recorder is not None:
            exchange._recording = self._recorder.start()
        return exchange

    def client(
        self, peer: str, port: int | None, values: Callable[[str], Iterable[str]]
    ) -> tuple[str, int | None]:
        """Return the client's address and port; *values* gives those of a header (in lower case)."""
        proxies = self.proxies
        if proxies is None:
            return peer, port
        return proxies.client(peer, port, values(proxies.header))

    def finish(self, exchange: Exchange) -> None:
        """Write the access event, the first time that it is called; the response has ended now."""
        if exchange.logged:
            return
        exchange.logged = True
        exchange.ended = exchange.ended or perf_counter_ns()
        if not exchange.status:
            gone = exchange.left or exchange.given_up
            exchange.status = CLIENT_CLOSED if gone else 500
        if self._excludes and self.options.excludes(exchange.path):
            return
        if not exchange.excluded:
            shown = exchange.error if self.options.exceptions else None
            self._access.write(exchange, shown)

    def broke(self, exchange: Exchange, error: BaseException) -> None:
        """Note that *error* came out of the application; the caller raises it again.

        What is bound now stays with the exception, so that the server's own report of it has it.
        """
        if exchange.left:  # what the application makes of that is no failure of this request
            pass
        elif isinstance(error, Exception):
            exchange.error = error
        else:  # CancelledError, GeneratorExit, KeyboardInterrupt …: not the application's failure
            exchange.given_up = True
        leave_context(error, ids_of(exchange, current_names()))

    def leave(self, exchange: Exchange) -> None:
        """End the request: its access event if there was none yet, its recording, its context."""
        try:
            if not exchange.logged:
                self.finish(exchange)
            if exchange._recording is not None and self._recorder is not None:
                self._recorder.end(exchange._recording, needed=self._is_needed(exchange))
        finally:
            exchange.error = None  # its traceback leads back here
            _unbind(exchange)

    def is_slow(self, exchange: Exchange) -> bool:
        """Whether a request that has ended was a slow one."""
        return self._access.is_slow(exchange)

    def _is_needed(self, exchange: Exchange) -> bool:
        """Whether the details of a request are worth writing."""
        return exchange.error is not None or exchange.outcome is FAILED or self.is_slow(exchange)

    def _bind(self, exchange: Exchange) -> None:
        of_request, of_trace, of_span = current_names().bound()
        token = (of_request, of_request.set(exchange.request_id))
        trace = exchange.trace
        if trace is None:
            exchange._tokens = (token,)
        else:
            exchange._tokens = (
                token,
                (of_trace, of_trace.set(trace.trace_id)),
                (of_span, of_span.set(trace.span_id)),
            )


def _unbind(exchange: Exchange) -> None:
    tokens, exchange._tokens = exchange._tokens, ()
    for variable, token in tokens:
        try:
            variable.reset(token)
        except ValueError as error:
            # Another context than the one that it was bound in: there it ends by itself.
            diagnostics.report("request context", "a request ended in another context", error)
