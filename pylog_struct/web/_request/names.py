"""What the fields of a request are called, and the context variables that they are bound to.

Decided once a configuration: the names of the Elastic Common Schema if its renderer is in use, plain
words for all others.  ``docs/reference/request-middleware.md`` has both side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from pylog_struct.active import ACTIVE
from pylog_struct.structlog_context import CONTEXT_VARIABLES

if TYPE_CHECKING:
    from contextvars import ContextVar

    from pylog_struct.pipeline import Pipeline

__all__ = ["ECS_NAMES", "PLAIN_NAMES", "Names", "current_names"]


class Names:
    """One set of names.

    Args:
        names: By the plain name of each field, its own.
        ecs: Whether they are those of the Elastic Common Schema.
    """

    __slots__ = (
        "address", "close_code", "duration", "ecs", "error_type", "http_version", "ip", "method",
        "outcome", "path", "port", "query", "request_bytes", "request_id", "response_bytes",
        "scheme", "span_id", "status", "trace_id", "user_agent", "variables",
    )  # fmt: skip

    address: str
    close_code: str
    duration: str
    error_type: str
    http_version: str
    ip: str
    method: str
    outcome: str
    path: str
    port: str
    query: str
    request_bytes: str
    request_id: str
    response_bytes: str
    scheme: str
    span_id: str
    status: str
    trace_id: str
    user_agent: str

    def __init__(self, names: dict[str, str], *, ecs: bool) -> None:
        self.ecs = ecs
        for name, own in names.items():
            setattr(self, name, own)
        self.variables: tuple[ContextVar[Any], ContextVar[Any], ContextVar[Any]] | None = None
        """structlog's, of the request's id, the trace's and the span's; made on first use."""

    def bound(self) -> tuple[ContextVar[Any], ContextVar[Any], ContextVar[Any]]:
        """Return the context variables of the request's id, the trace's and the span's."""
        if self.variables is None:
            self.variables = (
                _variable(self.request_id),
                _variable(self.trace_id),
                _variable(self.span_id),
            )
        return self.variables


def _variable(name: str) -> ContextVar[Any]:
    """Return structlog's variable for *name*; it makes them when a value is bound."""
    key = f"{structlog.contextvars.STRUCTLOG_KEY_PREFIX}{name}"
    if key not in CONTEXT_VARIABLES:
        structlog.contextvars.reset_contextvars(
            **structlog.contextvars.bind_contextvars(**{name: ""})
        )
    return CONTEXT_VARIABLES[key]


PLAIN_NAMES: Final = Names(
    {
        "address": "client_address",
        "close_code": "close_code",
        "duration": "duration",
        "error_type": "error_type",
        "http_version": "http_version",
        "ip": "client_ip",
        "method": "method",
        "outcome": "outcome",
        "path": "path",
        "port": "client_port",
        "query": "query",
        "request_bytes": "request_bytes",
        "request_id": "request_id",
        "response_bytes": "response_bytes",
        "scheme": "scheme",
        "span_id": "span_id",
        "status": "status",
        "trace_id": "trace_id",
        "user_agent": "user_agent",
    },
    ecs=False,
)
ECS_NAMES: Final = Names(
    {
        "address": "client.address",
        "close_code": "close_code",
        "duration": "event.duration",
        "error_type": "error.type",
        "http_version": "http.version",
        "ip": "client.ip",
        "method": "http.request.method",
        "outcome": "event.outcome",
        "path": "url.path",
        "port": "client.port",
        "query": "url.query",
        "request_bytes": "http.request.body.bytes",
        "request_id": "http.request.id",
        "response_bytes": "http.response.body.bytes",
        "scheme": "url.scheme",
        "span_id": "span.id",
        "status": "http.response.status_code",
        "trace_id": "trace.id",
        "user_agent": "user_agent.original",
    },
    ecs=True,
)


class _Current:
    """Which names the current pipeline wants; looked at once for each pipeline."""

    __slots__ = ("names", "pipeline")

    def __init__(self) -> None:
        self.pipeline: Pipeline | None = None
        self.names = PLAIN_NAMES


_CURRENT: Final = _Current()


def current_names() -> Names:
    """Return the names that fit the current pipeline's renderer."""
    pipeline = ACTIVE.pipeline
    if pipeline is not _CURRENT.pipeline:
        ecs = pipeline is not None and pipeline.renders_ecs
        _CURRENT.names = ECS_NAMES if ecs else PLAIN_NAMES
        _CURRENT.pipeline = pipeline
    return _CURRENT.names
