"""What a server knows of a request, as the fields of one event: typed, cleaned, of bounded length.

Nothing here formats a template: what a client sends can only ever be the value of a field.  The
names are those of the request middleware.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pylog_struct.web._request.client import is_ip
from pylog_struct.web._request.exchange import REQUEST_ID_KEY, TRACE_KEY
from pylog_struct.web._request.names import current_names
from pylog_struct.web._request.text import AGENT_MAX, PATH_MAX, QUERY_MAX, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EVENT", "access_fields", "header_text", "request_ids", "whole_number"]

EVENT: Final = "request"
"""The name of the event that a server's access log has for each request."""

_SHORT: Final = 64  # characters of a method, a version
_ADDRESS_MAX: Final = 256
_DIGITS: Final = 18  # of a number that is believed


def access_fields(
    *,
    method: str | None = None,
    path: str | None = None,
    query: str | None = None,
    status: int | None = None,
    client: str | None = None,
    port: int | None = None,
    http_version: str | None = None,
    user_agent: str | None = None,
    duration: float | None = None,
    response_bytes: int | None = None,
) -> dict[str, Any]:
    """Return the fields of one access event, under the names that the pipeline's format has for them.

    What is None or empty is left out: a server that does not know says nothing.

    Args:
        method: As it came.
        path: Decoded, without the query.
        query: Without the question mark.
        status: Of the response.
        client: The peer's address; a name or a path if it is a socket of another kind.
        port: The peer's.
        http_version: Such as ``"1.1"``.
        user_agent: The header's value.
        duration: In seconds; becomes nanoseconds under ``format="ecs"``.
        response_bytes: Of the body.
    """
    names = current_names()
    fields: dict[str, Any] = {}
    for name, value, longest in (
        (names.method, method, _SHORT),
        (names.path, path, PATH_MAX),
        (names.query, query, QUERY_MAX),
        (names.address, client, _ADDRESS_MAX),
        (names.http_version, http_version, _SHORT),
        (names.user_agent, user_agent, AGENT_MAX),
    ):
        if value:
            fields[name] = shown(value, longest)
    if status is not None:
        fields[names.status] = status
    if port is not None:
        fields[names.port] = port
    if duration is not None:
        fields[names.duration] = round(duration * 1e9) if names.ecs else duration
    if response_bytes is not None:
        fields[names.response_bytes] = response_bytes
    if names.ecs:
        fields["event.category"] = ["web"]
        fields["event.type"] = ["access"]
        if client and is_ip(client):
            fields[names.ip] = client
    return fields


def request_ids(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids that the request middleware left in a scope or environ.

    When a server writes its line, they may not be bound any more.
    """
    names = current_names()
    ids: dict[str, Any] = {}
    if REQUEST_ID_KEY in scope:
        ids[names.request_id] = scope[REQUEST_ID_KEY]
    trace = scope.get(TRACE_KEY)
    if trace is not None:
        ids[names.trace_id] = trace.trace_id
        ids[names.span_id] = trace.span_id
    return ids


def whole_number(value: Any) -> int | None:
    """Return *value* as an int if that is what it says (``"200 OK"`` and ``b"17"`` do), else None."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        value = value.strip().partition(" ")[0]
        sound = value.isascii() and value.isdigit() and len(value) <= _DIGITS
        return int(value) if sound else None
    return int(value) if isinstance(value, int) else None


def header_text(value: Any) -> str | None:
    """Return a header's value: what is UTF-8 as such, what is not with the marks of that."""
    if isinstance(value, str):  # WSGI: bytes in the form of Latin-1 (PEP 3333)
        value = value.encode("latin-1", "replace")
    return bytes(value).decode("utf-8", "replace") if value else None
