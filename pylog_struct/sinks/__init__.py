"""Sinks: one a module; leaves do I/O, wrappers hold other sinks.

Each is imported when it is asked for: nobody pays for a client, a lock or a socket not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pylog_struct.sinks.batch import BatchSink
    from pylog_struct.sinks.bounded_queue import QueueSink
    from pylog_struct.sinks.buffer import BufferSink
    from pylog_struct.sinks.elasticsearch import ElasticsearchSink
    from pylog_struct.sinks.failover import FailoverSink, SwitchEvent
    from pylog_struct.sinks.fan_out import FanOutSink
    from pylog_struct.sinks.filter import FilterSink
    from pylog_struct.sinks.http import HttpSink
    from pylog_struct.sinks.kafka import KafkaSink
    from pylog_struct.sinks.locked import LockedSink
    from pylog_struct.sinks.memory import MemorySink, NullSink
    from pylog_struct.sinks.retry import RetrySink
    from pylog_struct.sinks.rolling_file import RollingFileSink
    from pylog_struct.sinks.route import RouteSink
    from pylog_struct.sinks.socket import SocketSink
    from pylog_struct.sinks.stream import StreamSink
else:
    from pylog_struct._lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "batch": ("BatchSink",),
            "bounded_queue": ("QueueSink",),
            "buffer": ("BufferSink",),
            "elasticsearch": ("ElasticsearchSink",),
            "failover": ("FailoverSink", "SwitchEvent"),
            "fan_out": ("FanOutSink",),
            "filter": ("FilterSink",),
            "http": ("HttpSink",),
            "kafka": ("KafkaSink",),
            "locked": ("LockedSink",),
            "memory": ("MemorySink", "NullSink"),
            "retry": ("RetrySink",),
            "rolling_file": ("RollingFileSink",),
            "route": ("RouteSink",),
            "socket": ("SocketSink",),
            "stream": ("StreamSink",),
        },
    )

__all__ = [
    "BatchSink",
    "BufferSink",
    "ElasticsearchSink",
    "FailoverSink",
    "FanOutSink",
    "FilterSink",
    "HttpSink",
    "KafkaSink",
    "LockedSink",
    "MemorySink",
    "NullSink",
    "QueueSink",
    "RetrySink",
    "RollingFileSink",
    "RouteSink",
    "SocketSink",
    "StreamSink",
    "SwitchEvent",
]
