"""The one event that a request leaves behind: its fields, its level, and whether it is written."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct.active import ACTIVE
from pylog_struct.bound_logger import BoundLogger
from pylog_struct.dispatch import PROCESSORS
from pylog_struct.fast_lane import LEVEL_NAMES
from pylog_struct.levels import CRITICAL, DEBUG, ERROR, INFO, WARNING, level_label
from pylog_struct.thresholds import named_logger
from pylog_struct.web._request.client import is_ip
from pylog_struct.web._request.names import current_names
from pylog_struct.web._request.options import default_level
from pylog_struct.web._request.text import AGENT_MAX, PATH_MAX, QUERY_MAX, shown

if TYPE_CHECKING:
    from pylog_struct.web._request.exchange import Exchange
    from pylog_struct.web._request.names import Names
    from pylog_struct.web._request.options import Options

__all__ = ["CANCELLED", "COMPLETED", "DISCONNECTED", "FAILED", "AccessLog", "access_fields"]

COMPLETED: Final = "completed"
"""The response went out to its last byte, whatever its status below 500."""
FAILED: Final = "failed"
"""A status from 500 on, an exception, or a response that the application did not finish."""
DISCONNECTED: Final = "disconnected"
"""The client left before the end of the response."""
CANCELLED: Final = "cancelled"
"""The server gave the request up."""

_ECS_OUTCOMES: Final = {COMPLETED: "success", FAILED: "failure"}
_CATEGORY: Final = ["web"]
_TYPE: Final = ["access"]
_STATUSES: Final = range(100, 600)
_METHODS: Final[dict[int, str]] = dict(
    zip((DEBUG, INFO, WARNING, ERROR, CRITICAL), LEVEL_NAMES, strict=True)
)
_SCALE: Final = 2**32
_USUAL: Final = frozenset(
    [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "1.0",
        "1.1",
        "2",
        "3",
        "http",
        "https",
        "ws",
        "wss",
    ]
)
"""Values that need no look: short, and printable."""


class AccessLog:
    """Writes access events as the options of one middleware say.

    Threads: thread-safe.  Blocks: as a log call.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._log = BoundLogger(named_logger(options.logger), PROCESSORS, {})
        self._levels: dict[int, int] = {}
        self._sampling = options.sample < 1.0
        self._limit = int(options.sample * _SCALE)
        self._slow = None if options.slow is None else int(options.slow * 1e9)

    def is_slow(self, exchange: Exchange) -> bool:
        """Whether a request that has ended took too long; a websocket may stay open."""
        slow = self._slow
        return slow is not None and exchange.event == "request" and exchange.nanoseconds >= slow

    def write(self, exchange: Exchange, error: BaseException | None = None) -> None:
        """Write the event of one request, unless sampling has it left out.

        Args:
            exchange: The request, at its end.
            error: Its exception, if the event has to carry it.
        """
        status, outcome = exchange.status, exchange.outcome
        level = self._levels.get(status) or self._level(status)
        if outcome is FAILED and level < ERROR:  # an exception after the start of the response
            level = ERROR
        slow = self.is_slow(exchange)
        if (
            self._sampling
            and outcome is COMPLETED
            and status < 400
            and not slow
            and not self.is_sampled(exchange)
        ):
            self._leave_out(level)
            return
        names = current_names()
        try:
            fields = access_fields(exchange, names, query=self._options.query)
        except Exception as trouble:  # a server that says strange things
            diagnostics.report("access event", "a request could not be described in full", trouble)
            fields = {names.status: status, names.outcome: outcome}
        if names.bound()[0].get(Ellipsis) is Ellipsis:  # somebody called clear_contextvars()
            fields.update(ids_of(exchange, names))
        if slow:
            fields["slow"] = True
        if error is not None:
            fields["exc_info"] = error
        name = _METHODS.get(level)
        if name is None:
            self._log.log(level, exchange.event, **fields)
        else:
            getattr(self._log, name)(exchange.event, **fields)

    def is_sampled(self, exchange: Exchange) -> bool:
        """Whether a request belongs to the share that is written: the same one wherever its ids go."""
        trace = exchange.trace
        key = exchange.request_id if trace is None else trace.trace_id
        return zlib.crc32(key.encode()) < self._limit

    def _leave_out(self, level: int) -> None:
        pipeline = ACTIVE.pipeline
        if pipeline is not None and self._log.is_enabled_for(level):
            pipeline.counts.discard(level_label(level))

    def _level(self, status: int) -> int:
        """Ask the user's function, once for each status that there is."""
        try:
            level = self._options.level(status)
        except Exception as error:
            diagnostics.report("level_for", f"level_for({status}) failed", error)
            return default_level(status)
        if status in _STATUSES:
            self._levels[status] = level
        return level


def ids_of(exchange: Exchange, names: Names) -> dict[str, str]:
    """Return the ids of a request by the names that they have in a line."""
    ids = {names.request_id: exchange.request_id}
    if exchange.trace is not None:
        ids[names.trace_id] = exchange.trace.trace_id
        ids[names.span_id] = exchange.trace.span_id
    return ids


def access_fields(exchange: Exchange, names: Names, *, query: bool = False) -> dict[str, Any]:
    """Return the fields of an access event; what the request did not have is left out.

    Args:
        exchange: The request, at its end.
        names: What they are called.
        query: Whether the query string is one of them.
    """
    nanoseconds = exchange.nanoseconds
    outcome: str = exchange.outcome
    path = exchange.path
    if len(path) > PATH_MAX or not path.isprintable():
        path = shown(path, PATH_MAX)
    fields: dict[str, Any] = {
        names.path: path,
        names.status: exchange.status,
        names.duration: nanoseconds if names.ecs else nanoseconds / 1e9,
        names.outcome: _ECS_OUTCOMES.get(outcome, "unknown") if names.ecs else outcome,
        names.request_bytes: exchange.request_bytes,
        names.response_bytes: exchange.response_bytes,
    }
    method, version, scheme = exchange.method, exchange.http_version, exchange.scheme
    if method:
        fields[names.method] = method if method in _USUAL else shown(method, 64)
    if exchange.route:
        fields["route"] = shown(exchange.route, PATH_MAX)
    address = exchange.address
    if address:
        fields[names.address] = shown(address, 64)
        if names.ecs and is_ip(address):
            fields[names.ip] = address
    if exchange.port:
        fields[names.port] = exchange.port
    agent = exchange.user_agent
    if agent:
        fields[names.user_agent] = shown(agent, AGENT_MAX)
    if version:
        fields[names.http_version] = version if version in _USUAL else shown(version, 16)
    if scheme:
        fields[names.scheme] = scheme if scheme in _USUAL else shown(scheme, 16)
    if query and exchange.query:
        fields[names.query] = shown(exchange.query, QUERY_MAX)
    if exchange.close_code is not None:
        fields[names.close_code] = exchange.close_code
    if exchange.error is not None:
        fields[names.error_type] = type(exchange.error).__name__
    if exchange.rejected is not None:
        fields["request_id_rejected"] = exchange.rejected
    if names.ecs:
        fields["event.category"] = _CATEGORY
        fields["event.type"] = _TYPE
        if outcome in (DISCONNECTED, CANCELLED):
            fields["event.reason"] = outcome
    return fields
