"""Records that a sink puts into the stream itself: ``log.gap``, ``sink.switch`` and the like."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from pylog_struct.levels import level_label
from pylog_struct.record import Record

__all__ = ["NoticeFactory", "json_notice", "timestamp"]

NoticeFactory = Callable[[int, str, Mapping[str, Any]], Record]
"""(level, event name, fields) → a record in the pipeline's own format; fields are JSON-safe."""


def timestamp(moment: float) -> str:
    """Return Unix time *moment* (seconds) as RFC 3339 in UTC with six digits."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def json_notice(level: int, event: str, fields: Mapping[str, Any]) -> Record:
    """Build a notice as plain JSON: what sinks use until a pipeline gives them its own format."""
    now = time.time()
    document = {
        "timestamp": timestamp(now),
        "level": level_label(level),
        "logger": "pylog_struct",
        "event": event,
        **fields,
    }
    return Record(level, orjson.dumps(document, default=str), now)
