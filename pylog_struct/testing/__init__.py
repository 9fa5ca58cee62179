"""What users need to test *their* logging and *their* sinks."""

from __future__ import annotations

from pylog_struct.testing.captured import captured_logs
from pylog_struct.testing.check_sink import check_sink
from pylog_struct.testing.clock import FakeClock
from pylog_struct.testing.faults import CloggedSink, FailingSink, Fault, ShortSink, SlowSink

__all__ = [
    "CloggedSink",
    "FailingSink",
    "FakeClock",
    "Fault",
    "ShortSink",
    "SlowSink",
    "captured_logs",
    "check_sink",
]
