"""The standard library's logging with python-json-logger (its orjson formatter)."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from functools import partial
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any

from events import by_extra, text_by_extra

from contestants import Subject

Ends = tuple[logging.Logger, Callable[[], object], Callable[[], object]]


def formatter() -> logging.Formatter:
    """JSON with the time, the level, the message and what ``extra`` brings."""
    from pythonjsonlogger.orjson import OrjsonFormatter

    return OrjsonFormatter(["levelname", "message"], timestamp=True)


def file_handler(path: Path, open_file: Callable[[Path], Any] | None) -> logging.Handler:
    """A FileHandler, or one whose stream is *open_file*'s."""
    if open_file is None:
        return logging.FileHandler(path, encoding="utf-8")
    return logging.StreamHandler(open_file(path))


def logger_of(handler: logging.Handler) -> logging.Logger:
    """A logger with this handler and no other."""
    logger = logging.getLogger("contest")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


def direct(path: Path, open_file: Callable[[Path], Any] | None = None) -> Subject:
    """A FileHandler, which flushes after each record."""
    handler = file_handler(path, open_file)
    handler.setFormatter(formatter())
    logger = logger_of(handler)
    return Subject(
        by_extra(logger), partial(text_by_extra, logger), handler.close, handler.flush, logger
    )


def listen(path: Path, form: logging.Formatter, open_file: Callable[[Path], Any] | None) -> Ends:
    """A QueueHandler with an unbounded queue, as in the logging cookbook, and its listener."""
    handler = file_handler(path, open_file)
    handler.setFormatter(form)
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(-1)
    listener = QueueListener(waiting, handler)
    logger = logger_of(QueueHandler(waiting))
    listener.start()

    def finish() -> None:
        listener.stop()
        handler.close()

    # The listener tells the queue when a record is handled; nothing else says when it is empty.
    return logger, waiting.join, finish


def queued(path: Path, open_file: Callable[[Path], Any] | None = None) -> Subject:
    """The record is formatted by the listener's thread."""
    logger, drain, finish = listen(path, formatter(), open_file)
    return Subject(by_extra(logger), partial(text_by_extra, logger), finish, drain, logger)
