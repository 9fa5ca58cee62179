"""Configure with a sink in memory, and read what arrived."""

from __future__ import annotations

import pylog_struct
from pylog_struct.sinks import MemorySink


def memory_pipeline(**settings):
    """Configure a JSON pipeline into a new ``MemorySink``; everything down to DEBUG."""
    sink = MemorySink()
    settings.setdefault("level", "DEBUG")
    settings.setdefault("format", "json")
    pylog_struct.configure(sink=sink, **settings)
    return sink


def without(event, *keys):
    """The event without these keys, by default without what differs between two calls."""
    return {key: value for key, value in event.items() if key not in (keys or ("timestamp",))}
