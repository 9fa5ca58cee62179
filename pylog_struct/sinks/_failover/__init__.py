"""The parts of :class:`pylog_struct.sinks.failover.FailoverSink`: one alternative, and its lane."""

from __future__ import annotations
