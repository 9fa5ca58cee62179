"""The request's ids in the headers of a task's message: written by who sends it, checked by who runs it.

What comes from the broker is trusted no more than a client of the web app: an id is taken if it is
harmless, a ``traceparent`` if it is valid, anything else is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pylog_struct.web._request.names import ECS_NAMES, PLAIN_NAMES, current_names
from pylog_struct.web._request.request_id import accepted_id
from pylog_struct.web._request.trace_context import parse_traceparent, telemetry_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROPAGATED", "REQUEST_ID", "TRACEPARENT", "from_headers", "to_headers"]

REQUEST_ID: Final = "x-request-id"
TRACEPARENT: Final = "traceparent"

PROPAGATED: Final = frozenset(
    key
    for names in (PLAIN_NAMES, ECS_NAMES)
    for key in (names.request_id, names.trace_id, names.span_id)
)
"""The keys in the context that travel with a message: what the request middleware binds, by either name."""


def to_headers(context: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers for what is bound here; OpenTelemetry's span goes before a bound one."""
    headers: dict[str, str] = {}
    request_id, trace_id, span_id = _bound(context)
    if isinstance(request_id, str) and accepted_id(request_id) is not None:
        headers[REQUEST_ID] = request_id
    trace = telemetry_ids()
    if trace is not None:
        headers[TRACEPARENT] = f"00-{trace.trace_id}-{trace.span_id}-{int(trace.sampled):02x}"
    else:
        # Whether the trace is recorded was not kept in the context: 00 says that it is not known to be.
        parent = f"00-{trace_id}-{span_id}-00"
        if parse_traceparent(parent) is not None:
            headers[TRACEPARENT] = parent
    return headers


def _bound(context: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return the ids by the names of this configuration, or, if a user bound them so, by plain ones."""
    names = current_names()
    if names.request_id not in context and names.trace_id not in context:
        names = PLAIN_NAMES
    return context.get(names.request_id), context.get(names.trace_id), context.get(names.span_id)


def from_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return what can be bound of a message's headers."""
    names = current_names()
    fields: dict[str, str] = {}
    request_id = headers.get(REQUEST_ID)
    if isinstance(request_id, str) and accepted_id(request_id) is not None:
        fields[names.request_id] = request_id
    parent = headers.get(TRACEPARENT)
    trace = parse_traceparent(parent) if isinstance(parent, str) else None
    if trace is not None:
        fields[names.trace_id] = trace.trace_id
        fields[names.span_id] = trace.span_id
    return fields
