"""The last errors that were logged, kept for the status page: bounded, and free while nobody wants them.

While a status page exists, events from ERROR up leave the fast lane (some microseconds each) and are
seen on their way to the root sink.  All other events, and all events without a status page, pay
nothing.  A line is what the sinks get: rendered, and redacted if the pipeline does that.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct import fork, pipeline
from pylog_struct._frozen import frozen
from pylog_struct.bound_logger import go_step_by_step
from pylog_struct.levels import ERROR, level_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pylog_struct.record import Record

__all__ = ["ERRORS", "ErrorGroup", "Errors", "group"]

RECORDS: Final = 200
"""Most lines kept."""

LINE: Final = 4096
"""Bytes of a line that are kept."""

_METHODS: Final = ("error", "critical")
_EVENT: Final = ("event", "message", "msg")
_LOGGER: Final = ("logger", "log.logger", "logger_name", "logging.googleapis.com/logger")


@frozen
class ErrorGroup:
    """Errors that say the same, with the last one of them."""

    event: str
    logger: str
    level: str
    number: int
    at: float
    """Unix time of the last one."""
    line: str
    """The last one, cut if it is long."""


class Errors:
    """A ring of the last lines from ERROR up.

    Threads: thread-safe, signal-safe: adding takes no lock.  Blocks: never.  Fork: the child starts empty.
    Memory: at most ``RECORDS * LINE`` bytes.
    """

    def __init__(self) -> None:
        self._ring: deque[tuple[int, bytes, float]] = deque(maxlen=RECORDS)
        self._users = 0
        self._lock = (
            threading.RLock()
        )  # guards the number of users; a finaliser may be nested in it
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self._ring = deque(maxlen=RECORDS)
        self._lock = threading.RLock()

    def use(self) -> None:
        """One more page wants them."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                pipeline.watch(self.see)
                go_step_by_step(*_METHODS)

    def leave(self) -> None:
        """One page is gone; with the last one nobody looks any more."""
        with self._lock:
            self._users -= 1
            if not self._users:
                go_step_by_step()
                pipeline.watch(None)
                self._ring.clear()

    def see(self, record: Record) -> None:
        """Keep *record* if it is an error.  Neither raises nor logs."""
        if record[0] >= ERROR:
            self._ring.append((record[0], record[1][:LINE], record[2]))

    def newest(self) -> list[tuple[int, bytes, float]]:
        """Return what is kept, the newest first."""
        while True:
            try:
                return list(self._ring)[::-1]
            except RuntimeError:  # another thread added one meanwhile
                continue


def group(records: Iterable[tuple[int, bytes, float]], most: int) -> list[ErrorGroup]:
    """Put together what says the same; *records* come newest first, and so do the groups.

    Args:
        records: Level, line, Unix time.
        most: Most groups returned.
    """
    found: dict[tuple[str, str, str], ErrorGroup] = {}
    for level, line, at in records:
        event, logger = _about(line)
        key = event, logger, level_label(level)
        known = found.get(key)
        if known is None:
            if len(found) < most:
                found[key] = ErrorGroup(*key, 1, at, line.decode("utf-8", "replace"))
        else:
            found[key] = ErrorGroup(*key, known.number + 1, known.at, known.line)
    return list(found.values())


def _about(line: bytes) -> tuple[str, str]:
    """Return what happened, and the logger's name; of a line that is no JSON object, its begin."""
    try:
        document: Any = orjson.loads(line)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return line[:200].decode("utf-8", "replace"), ""
    event = next((str(document[key]) for key in _EVENT if document.get(key) is not None), "")
    logger = next((str(document[key]) for key in _LOGGER if document.get(key)), "")
    if not logger and isinstance(log := document.get("log"), dict):
        logger = str(log.get("logger") or "")
    return event[:300] or "(no text)", logger[:100]


ERRORS: Final = Errors()
"""The one of this process."""
