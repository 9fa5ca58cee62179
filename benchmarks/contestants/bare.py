"""The floor: a dict, orjson, a file.  No levels, no context, no lock, no safety."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from events import by_hand, text_by_hand

from contestants import Subject


def buffered(path: Path) -> Subject:
    """Python's usual buffer between; the time is a number, the cheapest there is."""
    file = path.open("wb")
    return Subject(
        by_hand(file.write, time.time), partial(text_by_hand, file.write), file.close, file.flush
    )


def iso(path: Path) -> Subject:
    """The same with the time as the others write it: ISO 8601, UTC, microseconds (by orjson)."""
    file = path.open("wb")
    now = datetime.now
    return Subject(
        by_hand(file.write, lambda: now(UTC)),
        partial(text_by_hand, file.write),
        file.close,
        file.flush,
    )


def unbuffered(path: Path) -> Subject:
    """Every event is in the kernel when the call returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    write = partial(os.write, descriptor)
    return Subject(
        by_hand(write, time.time), partial(text_by_hand, write), partial(os.close, descriptor)
    )
