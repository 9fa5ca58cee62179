"""structlog by itself, as its documentation sets it up for speed, and in front of a stdlib queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from events import by_keywords, text_by_keywords

from contestants import Subject


def open_binary(path: Path) -> Any:
    """A file as ``open`` makes it; BytesLogger flushes it after each event."""
    return path.open("wb")


def fast(path: Path, open_file: Callable[[Path], Any] = open_binary) -> Subject:
    """The example of structlog's page "Performance", to a file, with a local logger as it advises."""
    import orjson
    import structlog

    file = open_file(path)
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file=file),
    )
    logger = structlog.get_logger().bind()
    return Subject(
        by_keywords(logger), partial(text_by_keywords, logger), file.close, file.flush, logger
    )


def queued(path: Path, open_file: Callable[[Path], Any] | None = None) -> Subject:
    """Rendered by structlog, handed to logging, a QueueHandler, and a QueueListener's FileHandler."""
    import orjson
    import structlog

    from contestants.stdlib import listen

    target, drain, finish = listen(path, logging.Formatter("%(message)s"), open_file)
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(
                serializer=lambda event, **options: orjson.dumps(event, **options).decode()
            ),
        ],
        logger_factory=lambda *_: target,
    )
    logger = structlog.get_logger().bind()
    return Subject(by_keywords(logger), partial(text_by_keywords, logger), finish, drain, logger)
