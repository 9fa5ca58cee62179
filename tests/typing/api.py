"""What users write must type-check, and mean what it says: run by mypy --strict and by pyright.

Never executed.  ``assert_type`` is checked by both; a comment ``# type: ignore`` that is not needed
is an error, so the lines that must *not* type-check are tested as well.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, assert_type

import structlog
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict, WrappedLogger

import pylog_struct
from pylog_struct import web
from pylog_struct.sinks import (
    BatchSink,
    BufferSink,
    FailoverSink,
    FanOutSink,
    FilterSink,
    LockedSink,
    MemorySink,
    NullSink,
    QueueSink,
    RetrySink,
    RollingFileSink,
    RouteSink,
    StreamSink,
    SwitchEvent,
)
from pylog_struct.testing import FakeClock, check_sink

# -- loggers --------------------------------------------------------------------------------------

log = pylog_struct.get_logger(__name__)
assert_type(log, pylog_struct.BoundLogger)
assert_type(log.bind(a=1), pylog_struct.BoundLogger)
assert_type(log.bind(a=1).unbind("a").try_unbind("b").new(c=2), pylog_struct.BoundLogger)
log.bind(a=1).info("x")
log.info("order %s placed", 7, amount=12.5)
log.info()
log.warning("x", exc_info=True)
log.log(logging.INFO, "x", a=1)
try:
    log.debug("x")
except ValueError:
    log.exception("failed", order_id=7)
bound = pylog_struct.get_logger("shop", request_id="r1")
assert_type(bound, pylog_struct.BoundLogger)
log.inform("x")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


async def in_a_coroutine() -> None:
    await log.ainfo("x", a=1)
    await log.aexception("x")


# -- sinks of one's own ---------------------------------------------------------------------------


class MySink:
    """Has the three methods, so it is a sink; nothing to inherit from."""

    def write(self, batch: Sequence[pylog_struct.Record], /) -> None:
        for record in batch:
            assert_type(record, pylog_struct.Record)
            assert_type(record.level, int)
            assert_type(record.line, bytes)
        raise pylog_struct.SinkUnavailableError("down", batch)

    def flush(self, timeout: float | None = None) -> None: ...

    def close(self, timeout: float | None = None) -> None: ...


mine: pylog_struct.Sink = MySink()
not_a_sink: pylog_struct.Sink = object()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def handle(error: pylog_struct.SinkError) -> None:
    assert_type(error.unwritten, tuple[pylog_struct.Record, ...])
    assert_type(error.retryable, bool)


# -- configure ------------------------------------------------------------------------------------


def page_somebody(event: SwitchEvent) -> None:
    assert_type(event.source, str)
    assert_type(event.recovered, bool)
    assert_type(event.in_flight, int)


def add_region(_logger: WrappedLogger, _method_name: str, event_dict: EventDict) -> EventDict:
    event_dict["region"] = "eu"
    return event_dict


manager = pylog_struct.configure(
    level="INFO",
    format="json",
    sink=QueueSink(
        FailoverSink(
            [
                RollingFileSink(
                    "logs/app.jsonl",
                    pattern="logs/app-%d{yyyy-MM-dd-HH}-%i.jsonl.gz",
                    max_bytes="100 MB",
                    max_files=14,
                ),
                StreamSink("stderr"),
            ],
            on_switch=page_somebody,
        ),
        capacity=4096,
        policy="discard_low_level",
    ),
    processors=[add_region, structlog.processors.CallsiteParameterAdder()],
    service={"name": "checkout"},
    signals=("SIGTERM",),
    registry=CollectorRegistry(),
    shutdown_timeout="5 s",
    strict=False,
)
assert_type(manager, pylog_struct.LogManager)
assert_type(pylog_struct.configure(sink=mine), pylog_struct.LogManager)
assert_type(pylog_struct.configure(queue_size=4096, full_policy="Discard"), pylog_struct.LogManager)
pylog_struct.configure(levl="INFO")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

assert_type(manager.shutdown(), pylog_struct.ShutdownReport)
assert_type(pylog_struct.shutdown(timeout=5), pylog_struct.ShutdownReport)
assert_type(pylog_struct.shutdown().complete, bool)
assert_type(pylog_struct.flush(timeout="500 ms"), bool)
assert_type(pylog_struct.LogManager.shutdown(), pylog_struct.ShutdownReport)
pylog_struct.LogManager.configure_async_queue(4096, "DiscardLowLevel")
pylog_struct.set_level("DEBUG", logger="app.db", duration="10 min")

numbers = pylog_struct.statistics()
assert_type(numbers, pylog_struct.Statistics)
assert_type(numbers["queue"], pylog_struct.SinkStatistics)
assert_type(numbers["queue"].received, int)
assert_type(numbers["queue"].drops[("queue_full", "info")], int)

# -- every sink -----------------------------------------------------------------------------------

memory = MemorySink()
assert_type(memory.events, list[dict[str, Any]])
tree: list[pylog_struct.Sink] = [
    BatchSink(memory, max_records=100, linger="250 ms"),
    BufferSink(NullSink(), capacity=100, flush_level="ERROR"),
    FanOutSink([memory, mine]),
    FilterSink(memory, lambda record: record.level >= 30),
    LockedSink(StreamSink("stdout")),
    RetrySink(mine),
    RouteSink([(lambda record: record.level >= 40, memory)], default=NullSink()),
]
check_sink(MySink)
clock = FakeClock()
QueueSink(memory, clock=clock)

# -- in web applications ---------------------------------------------------------------------------


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """An application."""


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """Another one."""
    return [b""]


recorder = web.FlightRecorder(level="DEBUG", capacity=100)
asgi_app = web.RequestMiddleware(asgi, trust_request_id=True, slow="500 ms", recorder=recorder)
wsgi_app = web.WSGIRequestMiddleware(wsgi, exclude=["/health"], sample=0.1)
web.RequestMiddleware(asgi, trust_id=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
mounted = web.mount_metrics(asgi_app, "/metrics")
assert_type(mounted, web.RequestMiddleware)
web.metrics_asgi_app(CollectorRegistry())
web.metrics_wsgi_app([CollectorRegistry()], compress=False)
web.status_asgi_app(token="0123456789abcdef")
web.status_wsgi_app(guard=lambda request: request.headers.get("x-user"))
web.health_asgi_app(window="1 min", max_errors=3)
web.health_wsgi_app()
with web.ContextExecutor(max_workers=2) as executor:
    assert_type(executor.submit(len, "abc").result(), int)
