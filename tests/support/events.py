"""Configure with a sink in memory, and read what arrived."""

from __future__ import annotations

import logging

import pylog_struct
from pylog_struct.sinks import MemorySink
from pylog_struct.stdlib_bridge import BridgeHandler

# "Using selector: EpollSelector", once a loop: not what a test at level DEBUG is about.
logging.getLogger("asyncio").setLevel(logging.INFO)


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


def only_the_bridge():
    """Take pytest's own handlers off the root logger until the end of the test: they raise on odd values."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if not isinstance(handler, BridgeHandler):
            root.removeHandler(handler)
