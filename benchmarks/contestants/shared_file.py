"""One rolling file that several processes write: each calls one of these after the fork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from events import by_extra, text_by_extra

from contestants import Subject

ROLL = 4_000_000  # bytes: a run rolls over a few times


def ours(path: Path) -> Subject:
    """RollingFileSink as it is; sharing a file needs no option."""
    from contestants.ours import direct
    from pylog_struct.sinks import RollingFileSink

    return direct(path, lambda path: RollingFileSink(path, max_bytes=ROLL))


def ours_queued(path: Path) -> Subject:
    """The same behind a queue in each process."""
    from contestants.ours import queued
    from pylog_struct.sinks import RollingFileSink

    return queued(path, lambda path: RollingFileSink(path, max_bytes=ROLL))


def concurrent_log_handler(path: Path) -> Subject:
    """ConcurrentRotatingFileHandler: a lock file, taken for each record."""
    from functools import partial

    from concurrent_log_handler import ConcurrentRotatingFileHandler

    from contestants.stdlib import formatter, logger_of

    handler = ConcurrentRotatingFileHandler(str(path), maxBytes=ROLL, backupCount=1000)
    handler.setFormatter(formatter())
    logger = logger_of(handler)
    return Subject(by_extra(logger), partial(text_by_extra, logger), handler.close, handler.flush)


WHO: dict[str, Callable[[Path], Subject]] = {
    "ours": ours,
    "ours_queued": ours_queued,
    "concurrent_log_handler": concurrent_log_handler,
}
LABELS = {"concurrent_log_handler": "concurrent-log-handler, python-json-logger (orjson)"}
