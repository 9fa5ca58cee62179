"""What Django knows of a request and its response, for the exchange; and who the user is, without asking."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import structlog

from pylog_struct import diagnostics
from pylog_struct.web._request.exchange import REQUEST_ID_KEY, TRACE_KEY
from pylog_struct.web._request.names import current_names

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pylog_struct.web._request.exchange import Exchange, RequestCore

__all__ = ["EXCHANGE", "begin", "describe_response", "note_exception", "note_user"]

EXCHANGE: Final = "_pylog_struct_exchange"
"""The attribute of Django's request."""


def begin(core: RequestCore, request: Any) -> Exchange:
    """Start the exchange of a request."""
    get = request.META.get
    variable = "HTTP_" + core.header.upper().replace("-", "_")
    exchange = core.begin(
        get(variable) if core.wants_id else None,
        _values(get("HTTP_TRACEPARENT")),
        _values(get("HTTP_TRACESTATE")),
    )
    request.META[REQUEST_ID_KEY] = exchange.request_id
    if exchange.trace is not None:
        request.META[TRACE_KEY] = exchange.trace
    setattr(request, EXCHANGE, exchange)
    try:
        _describe(core, exchange, request)
    except Exception as error:
        diagnostics.report("django request", "a request could not be read in full", error)
    return exchange


def _describe(core: RequestCore, exchange: Exchange, request: Any) -> None:
    get = request.META.get
    scope = getattr(request, "scope", None)  # under ASGI
    exchange.method = request.method or ""
    exchange.path = request.path
    exchange.query = get("QUERY_STRING") or ""
    exchange.scheme = request.scheme or ""
    if scope is None:
        exchange.http_version = (get("SERVER_PROTOCOL") or "").removeprefix("HTTP/")
    else:
        exchange.http_version = scope.get("http_version") or ""
    exchange.user_agent = _text(get("HTTP_USER_AGENT") or "")
    length = get("CONTENT_LENGTH") or ""
    if length.isascii() and length.isdigit() and len(length) < 20:
        exchange.request_bytes = int(length)
    port = str(get("REMOTE_PORT") or "")
    exchange.address, exchange.port = core.client(
        get("REMOTE_ADDR") or "",
        int(port) if port.isascii() and port.isdigit() and len(port) < 6 else None,
        lambda name: _values(get("HTTP_" + name.upper().replace("-", "_"))),
    )


def describe_response(exchange: Exchange, request: Any, response: Any) -> bool:
    """Note status, size and route; return whether the response streams, and so has not ended yet."""
    exchange.status = response.status_code
    match = request.resolver_match
    if match is not None and isinstance(match.route, str):
        exchange.route = f"/{match.route}"
    if exchange.status < 500:
        exchange.error = None  # somebody made a proper response of it
    if response.streaming:
        return True
    exchange.response_bytes = 0 if request.method == "HEAD" else len(response.content)
    return False


def note_exception(request: Any = None, **_: Any) -> None:
    """Keep the exception that Django is about to make a 500 of (``got_request_exception``)."""
    exchange = getattr(request, EXCHANGE, None)
    error = sys.exc_info()[1]
    if exchange is not None and error is not None:
        exchange.error = error


def note_user(request: Any) -> AbstractContextManager[None]:
    """Bind the user's id for the length of a block, if the view has looked at ``request.user``."""
    for name in ("_cached_user", "_acached_user"):  # what Django keeps of a user that was asked for
        user = getattr(request, name, None)
        if user is not None and getattr(user, "is_authenticated", False):
            key = "user.id" if current_names().ecs else "user_id"
            return structlog.contextvars.bound_contextvars(**{key: str(user.pk)})
    return nullcontext()


def _values(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _text(value: str) -> str:
    """Undo what Django does to a header's bytes: it has them as Latin-1, under WSGI and ASGI."""
    return (
        value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")
    )
