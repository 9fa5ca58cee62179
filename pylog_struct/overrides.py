"""Levels changed at run time, for structlog's loggers and the stdlib's, and changed back on time."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from pylog_struct import fork
from pylog_struct._janitor import JANITOR
from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.thresholds import ROOT_NAME, THRESHOLDS

if TYPE_CHECKING:
    from pylog_struct.stdlib_bridge import Bridge

__all__ = ["LevelControl"]


class LevelControl:
    """Applies levels by prefix ("" is the root) and takes those with a duration back.

    Args:
        bridge: The stdlib bridge whose root level follows ours, or None.
        clock: For the durations.

    Threads: thread-safe.  Fork: the child reverts at the same moment as the parent.
    """

    def __init__(self, bridge: Bridge | None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._bridge = bridge
        self._clock = clock
        self._lock = threading.RLock()  # guards the two mappings
        self._reverts: dict[str, tuple[float, int | None]] = {}  # prefix → (when, level before)
        self._stdlib: dict[str, int] = {}  # stdlib loggers that we gave a level → the one before
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()

    def set(self, level: int, prefix: str, duration: float | None) -> None:
        """Set *level* for *prefix*, for *duration* seconds or for good."""
        prefix = "" if prefix == ROOT_NAME else prefix
        with self._lock:
            pending = self._reverts.pop(prefix, None)
            # A second override does not make the first one permanent: the level before both returns.
            before = pending[1] if pending is not None else THRESHOLDS.get(prefix)
            self._apply(prefix, level)
            if duration is not None:
                self._reverts[prefix] = (self._clock.monotonic() + duration, before)
        if duration is not None:
            JANITOR.schedule(self, self.poll)

    def revert(self, prefix: str) -> bool:
        """Take back now what was set for *prefix* with a duration; False if there is nothing."""
        prefix = "" if prefix == ROOT_NAME else prefix
        with self._lock:
            pending = self._reverts.pop(prefix, None)
            if pending is not None:
                self._apply(prefix, pending[1])
        return pending is not None

    def left(self) -> dict[str, float]:
        """Return for each prefix with a duration the seconds until it reverts."""
        with self._lock:
            now = self._clock.monotonic()
            return {prefix: max(when - now, 0.0) for prefix, (when, _) in self._reverts.items()}

    def poll(self, _now: float) -> float | None:
        """Take back what is due; return seconds until the next one."""
        with self._lock:
            now = self._clock.monotonic()
            for prefix, (when, before) in list(self._reverts.items()):
                if when <= now:
                    del self._reverts[prefix]
                    self._apply(prefix, before)
            if not self._reverts:
                JANITOR.cancel(self)
                return None
            return min(when for when, _ in self._reverts.values()) - now

    def close(self) -> None:
        """Forget what is pending, and give the stdlib's loggers their own levels back."""
        with self._lock:
            JANITOR.cancel(self)
            self._reverts.clear()
            for name, level in self._stdlib.items():
                logging.getLogger(name).setLevel(level)
            self._stdlib.clear()

    def _apply(self, prefix: str, level: int | None) -> None:
        THRESHOLDS.set(prefix, level)
        if self._bridge is None:
            return
        if not prefix:
            self._bridge.apply(THRESHOLDS.effective(""))
            return
        logger = logging.getLogger(prefix)
        if level is None:
            logger.setLevel(self._stdlib.pop(prefix, logging.NOTSET))
        else:
            self._stdlib.setdefault(prefix, logger.level)
            logger.setLevel(level)
