"""picologging, the C++ logger with logging's interface, and a formatter that calls orjson.

It drops ``extra``, so the event is the message: a dict.  With its queue, the formatter belongs to the
QueueHandler: its ``prepare`` formats in the caller's thread, and the listener writes the text.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from events import by_dict, text_by_dict

from contestants import Subject


def formatter() -> Any:
    """The time, the level and the event, by one call of orjson."""
    import orjson
    import picologging

    dumps = orjson.dumps

    class OrjsonFormatter(picologging.Formatter):
        def format(self, record: Any) -> str:
            fields = {"timestamp": record.created, "level": record.levelname, **record.msg}
            return dumps(fields).decode()

    return OrjsonFormatter()


def file_handler(path: Path, open_file: Callable[[Path], Any] | None) -> Any:
    """Its FileHandler, or a StreamHandler over *open_file*'s stream."""
    import picologging

    if open_file is None:
        return picologging.FileHandler(path, encoding="utf-8")
    return picologging.StreamHandler(open_file(path))


def logger_of(handler: Any) -> Any:
    """A logger with this handler and no other."""
    import picologging

    logger = picologging.getLogger("contest")
    logger.setLevel(picologging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


def direct(path: Path, open_file: Callable[[Path], Any] | None = None) -> Subject:
    """A FileHandler, which flushes after each record."""
    handler = file_handler(path, open_file)
    handler.setFormatter(formatter())
    logger = logger_of(handler)
    return Subject(
        by_dict(logger), partial(text_by_dict, logger), handler.close, handler.flush, logger
    )


def queued(path: Path, open_file: Callable[[Path], Any] | None = None) -> Subject:
    """Its QueueHandler and QueueListener, with an unbounded queue."""
    import picologging
    from picologging.handlers import QueueHandler, QueueListener

    handler = file_handler(path, open_file)
    handler.setFormatter(picologging.Formatter("%(message)s"))
    waiting: queue.Queue[Any] = queue.Queue(-1)
    front = QueueHandler(waiting)
    front.setFormatter(formatter())
    listener = QueueListener(waiting, handler)
    logger = logger_of(front)
    listener.start()

    def finish() -> None:
        listener.stop()
        handler.close()

    return Subject(by_dict(logger), partial(text_by_dict, logger), finish, waiting.join, logger)
