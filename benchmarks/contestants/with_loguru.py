"""loguru, with its own JSON (``serialize=True``), with and without ``enqueue``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from events import by_keywords, text_by_keywords

from contestants import Subject


def _subject(path: Path, open_file: Any, *, enqueue: bool) -> Subject:
    from loguru import logger

    logger.remove()
    target = path if open_file is None else open_file(path)
    logger.add(target, serialize=True, enqueue=enqueue, level="INFO")
    return Subject(
        by_keywords(logger),
        partial(text_by_keywords, logger),
        logger.remove,
        logger.complete,
        logger,
    )


def direct(path: Path, open_file: Any = None) -> Subject:
    """In the caller's thread."""
    return _subject(path, open_file, enqueue=False)


def queued(path: Path, open_file: Any = None) -> Subject:
    """Through a pipe of multiprocessing to a thread."""
    return _subject(path, open_file, enqueue=True)
