"""What users need to test *their* logging and *their* sinks."""

from __future__ import annotations

from pylog_struct.testing.clock import FakeClock

__all__ = ["FakeClock"]
