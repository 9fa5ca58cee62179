"""Structured JSON logging on structlog: a log call never raises, never blocks without a bound.

    import structlog, pylog_struct

    pylog_struct.configure()
    structlog.get_logger().info("order placed", order_id=7)

See ``docs/`` for the tutorial, how-to guides, reference and explanations.
"""

from __future__ import annotations

from pylog_struct._configure import configure, flush, set_level, shutdown, statistics
from pylog_struct.bound_logger import BoundLogger, get_logger
from pylog_struct.errors import (
    ConfigError,
    PylogError,
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.ledger import SinkStatistics, Statistics
from pylog_struct.manager import LogManager, ShutdownReport
from pylog_struct.protocols import Sink
from pylog_struct.record import Record

__version__ = "0.1.0"

__all__ = [
    "BoundLogger",
    "ConfigError",
    "LogManager",
    "PylogError",
    "Record",
    "ShutdownReport",
    "Sink",
    "SinkClosedError",
    "SinkError",
    "SinkRejectedError",
    "SinkStatistics",
    "SinkTimeoutError",
    "SinkUnavailableError",
    "Statistics",
    "configure",
    "flush",
    "get_logger",
    "set_level",
    "shutdown",
    "statistics",
]
