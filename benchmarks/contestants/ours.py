"""pylog_struct: a rolling file, in the caller's thread and behind a queue."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from events import by_keywords, text_by_keywords

from contestants import Subject

CAPACITY = 8192


def rolling(path: Path) -> Any:
    """The file of both; it never gets that large here, but whether it does is asked for each write."""
    from pylog_struct.sinks import RollingFileSink

    return RollingFileSink(path, max_bytes="4 GB")


def queue(sink: Any) -> Any:
    """A queue that loses nothing: a full one makes the caller wait."""
    from pylog_struct.sinks import QueueSink

    return QueueSink(sink, capacity=CAPACITY, policy="block")


def subject(sink: Any, format: str = "json", **options: Any) -> Subject:  # noqa: A002 - the keyword's name
    """Configure, and take a local logger as structlog's documentation recommends."""
    import pylog_struct

    pylog_struct.configure(format=format, sink=sink, **options)
    logger = pylog_struct.get_logger().bind()
    return Subject(
        by_keywords(logger),
        partial(text_by_keywords, logger),
        partial(pylog_struct.shutdown, timeout=60.0),
        partial(pylog_struct.flush, timeout=60.0),
        logger,
    )


def direct(path: Path, make_sink: Callable[[Path], Any] = rolling) -> Subject:
    """In the kernel when the call returns."""
    return subject(make_sink(path))


def queued(path: Path, make_sink: Callable[[Path], Any] = rolling) -> Subject:
    """Rendered in the caller, written in batches by the queue's thread."""
    return subject(queue(make_sink(path)))


def _pure() -> None:
    os.environ["PYLOG_STRUCT_PURE"] = "1"
    from pylog_struct._compiled import SPEED

    if SPEED is not None:
        message = "pylog_struct was imported before it was told to be pure"
        raise RuntimeError(message)


def direct_pure(path: Path, make_sink: Callable[[Path], Any] = rolling) -> Subject:
    """The same as where nothing could be compiled."""
    _pure()
    return direct(path, make_sink)


def queued_pure(path: Path, make_sink: Callable[[Path], Any] = rolling) -> Subject:
    """The same as where nothing could be compiled, queued."""
    _pure()
    return queued(path, make_sink)
