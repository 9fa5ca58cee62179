"""The contestants: each writes the same events as JSON lines to one file, in its documented way.

A contestant is a function (path) → (log, finish).  ``log(number)`` logs one event; ``finish()``
returns when everything is in the file.  Imports happen inside, so that each process pays only for
its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

Contestant = Callable[[Path], tuple[Callable[[int], object], Callable[[], object]]]

USER = {"id": 4711, "roles": ["admin", "ops"]}


def bare_orjson(path: Path):
    """The floor: a dict, orjson, one write a line.  No levels, no context, no safety."""
    import orjson

    file = path.open("wb", buffering=0)

    def log(number: int) -> None:
        event = {
            "timestamp": datetime.fromtimestamp(time.time(), UTC).isoformat(),
            "level": "info",
            "event": "order placed",
            "order_id": number,
            "amount": 12.5,
            "user": USER,
        }
        file.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))

    return log, file.close


def structlog_fast(path: Path):
    """structlog's own advice for speed: cached filtering logger, orjson, BytesLogger."""
    import logging

    import orjson
    import structlog

    file = path.open("wb")
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file=file),
    )
    logger = structlog.get_logger()
    return (
        lambda number: logger.info("order placed", order_id=number, amount=12.5, user=USER),
        file.close,
    )


def _ours(sink):
    import pylog_struct

    pylog_struct.configure(format="json", sink=sink)
    logger = pylog_struct.get_logger()
    return (
        lambda number: logger.info("order placed", order_id=number, amount=12.5, user=USER),
        lambda: pylog_struct.shutdown(timeout=60),
    )


def ours_direct(path: Path):
    """pylog_struct, a rolling file written in the caller's thread."""
    from pylog_struct.sinks import RollingFileSink

    return _ours(RollingFileSink(path, max_bytes="1 GB"))


def ours_queued(path: Path):
    """pylog_struct, the same file behind a bounded queue that blocks when full: nothing dropped."""
    from pylog_struct.sinks import QueueSink, RollingFileSink

    return _ours(QueueSink(RollingFileSink(path, max_bytes="1 GB"), capacity=8192, policy="block"))


def stdlib_queued(path: Path):
    """logging with QueueHandler and QueueListener (unbounded queue), python-json-logger."""
    import logging
    import queue
    from logging.handlers import QueueHandler, QueueListener

    from pythonjsonlogger.orjson import OrjsonFormatter

    handler = logging.FileHandler(path)
    handler.setFormatter(OrjsonFormatter(["levelname", "message", "asctime"], timestamp=True))
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(-1)
    listener = QueueListener(waiting, handler)
    logger = logging.getLogger("contest")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(QueueHandler(waiting))
    listener.start()
    return (
        lambda number: logger.info(
            "order placed", extra={"order_id": number, "amount": 12.5, "user": USER}
        ),
        listener.stop,
    )


def _loguru(path: Path, *, enqueue: bool):
    from loguru import logger

    logger.remove()
    logger.add(path, serialize=True, enqueue=enqueue)
    return (
        lambda number: logger.info("order placed", order_id=number, amount=12.5, user=USER),
        logger.remove,
    )


def loguru_direct(path: Path):
    """loguru, serialize=True, in the caller's thread."""
    return _loguru(path, enqueue=False)


def loguru_queued(path: Path):
    """loguru, serialize=True, enqueue=True."""
    return _loguru(path, enqueue=True)


CONTESTANTS: dict[str, Contestant] = {
    "bare orjson + write": bare_orjson,
    "structlog, fast setup": structlog_fast,
    "pylog_struct, direct": ours_direct,
    "pylog_struct, queued": ours_queued,
    "stdlib queue + json-logger": stdlib_queued,
    "loguru, direct": loguru_direct,
    "loguru, enqueue": loguru_queued,
}
PACKAGES = ("pylog-struct", "structlog", "orjson", "python-json-logger", "loguru")
REFERENCE = "structlog, fast setup"
