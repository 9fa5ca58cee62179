"""Events as dicts, for a test's assertions: from structlog's loggers and the stdlib's alike."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from pylog_struct._install import install
from pylog_struct.active import ACTIVE
from pylog_struct.levels import NOTSET
from pylog_struct.metrics import Pipeline as PipelineCounts
from pylog_struct.pipeline import Pipeline
from pylog_struct.sinks.locked import LockedSink
from pylog_struct.sinks.memory import NullSink
from pylog_struct.stdlib_bridge import BRIDGE
from pylog_struct.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pylog_struct.record import Record
    from pylog_struct.thresholds import NamedLogger

__all__ = ["captured_logs"]


@contextmanager
def captured_logs(
    level: int = NOTSET, *, mirror: logging.Handler | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Collect every event that is logged inside the ``with`` block; none reaches a sink.

    Works whatever is configured: with loggers bound or cached long before, behind an asynchronous
    queue (an event is in the list when the log call returns), from any thread, before any
    ``configure``.  Each entry is the event dict that the renderer would have got: ``timestamp``,
    ``level``, ``logger``, ``event`` and the fields with their own Python values.

    Args:
        level: The least level collected; all by default, whatever the configured levels are.
        mirror: A stdlib handler (pytest's ``caplog.handler``) that also gets structlog's events.

    Not for two tests at once in one process: the pipeline is process-wide.
    """
    entries: list[dict[str, Any]] = []
    pipeline_before, levels_before = ACTIVE.pipeline, THRESHOLDS.save()
    config = structlog.get_config()
    contents = config["processors"]
    saved = list(contents)
    bridged = BRIDGE.installed
    pipeline = _Capture(entries, level, mirror)
    ACTIVE.pipeline = pipeline
    THRESHOLDS.reset(level)
    install()
    root_level = logging.getLogger().level
    if not bridged:
        BRIDGE.install()
    BRIDGE.apply(level)
    try:
        yield entries
    finally:
        if not bridged:
            BRIDGE.uninstall()
        logging.getLogger().setLevel(root_level)
        THRESHOLDS.restore(levels_before)
        ACTIVE.pipeline = pipeline_before
        if pipeline_before is None:
            if isinstance(contents, list):
                contents[:] = saved
            structlog.configure(**config)
        pipeline.root.close()


class _Capture(Pipeline):
    def __init__(
        self, entries: list[dict[str, Any]], level: int, mirror: logging.Handler | None
    ) -> None:
        self._entries = entries
        self._level = level
        self._mirror = mirror
        self._mine = threading.local()  # .event: the text of what this thread logged last
        root = LockedSink(NullSink(), absorb=True)
        super().__init__(root, render=self._keep, counts=PipelineCounts())

    def _keep(self, event_dict: Mapping[str, Any]) -> bytes:
        self._entries.append(dict(event_dict))
        self._mine.event = event_dict.get("event", "")
        return b"{}"

    def render(
        self,
        level: int,
        level_name: str,
        logger: NamedLogger,
        event: Any,
        args: tuple[Any, ...],
        context: Mapping[str, Any],
        fields: dict[str, Any],
        moment: int | None = None,
        origin: logging.LogRecord | None = None,
    ) -> Record | None:
        if level < self._level:  # a stdlib logger with a level of its own
            return None
        record = super().render(
            level, level_name, logger, event, args, context, fields, moment, origin
        )
        if self._mirror is not None and origin is None and level >= self._mirror.level:
            copy = logging.makeLogRecord({"name": logger.name, "levelno": level})
            copy.levelname = logging.getLevelName(level)
            copy.msg = getattr(self._mine, "event", "")
            self._mirror.handle(copy)
        return record
