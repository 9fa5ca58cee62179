"""Level checks that can change at run time and still cost one comparison.

Every logger name has one :class:`NamedLogger` per process; bound and cached loggers share it and
compare with its ``level`` on each call, so a change reaches all of them at once.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Final

from pylog_struct import fork
from pylog_struct.levels import NOTSET

__all__ = ["ROOT_NAME", "THRESHOLDS", "NamedLogger", "Thresholds", "named_logger"]

ROOT_NAME: Final = "root"
"""The name of a logger that was given none: the stdlib's word, so that both doors agree."""

_LOCK_WAIT: Final = 0.1  # seconds


class NamedLogger:
    """What structlog calls the wrapped logger: here a name and its threshold, and nothing else.

    Picklable and copyable: a copy is the same object.
    """

    __slots__ = ("__weakref__", "level", "name", "starts")

    disabled: Final = False  # asked by structlog.stdlib.filter_by_level

    def __init__(self, name: str, level: int) -> None:
        self.name: str = name
        self.level: int = level
        # The fast lane's: whose they are, and by level what stands from it to the event.
        self.starts: tuple[object, tuple[dict[str | None, bytes], ...]] = (None, ())

    def __repr__(self) -> str:
        return f"<NamedLogger {self.name!r}>"

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - what structlog.stdlib.filter_by_level calls
        """Whether an event of *level* would be emitted now."""
        return level >= self.level

    def getEffectiveLevel(self) -> int:  # noqa: N802 - the same, in later releases of it
        """The level below which nothing is emitted now."""
        return self.level

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (named_logger, (self.name,))

    def __copy__(self) -> NamedLogger:
        return self

    def __deepcopy__(self, memo: object) -> NamedLogger:
        return self


class Thresholds:
    """The level of every logger name: that of its longest configured prefix, else the root's.

    Prefixes end at dots: ``"app.db"`` covers ``app.db`` and ``app.db.pool``, not ``app.dbx``.
    Threads: thread-safe; reading a ``NamedLogger.level`` needs no lock.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # guards the two mappings
        self._levels: dict[str, int] = {"": NOTSET}
        self._loggers: weakref.WeakValueDictionary[str, NamedLogger] = weakref.WeakValueDictionary()
        self._seconds: list[weakref.ref[NamedLogger]] = []  # of a name that has one already; rare
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()

    def logger(self, name: str) -> NamedLogger:
        """Return the one logger of this name.

        Blocks for ``_LOCK_WAIT`` at most.  Whoever holds the lock may have been interrupted by a
        finaliser that logs and waits for a queue, and whoever holds that queue's lock may be here,
        in a signal handler: an unbounded wait would be a deadlock.  A second logger of the name,
        which follows its level like the first, is the way out.
        """
        found = self._loggers.get(name)
        if found is not None:
            return found
        lock = self._lock
        if not lock.acquire(timeout=_LOCK_WAIT):
            made = NamedLogger(name, self.effective(name))
            self._seconds.append(weakref.ref(made))
            made.level = self.effective(name)  # it may have changed before it was in the list
            return made
        try:
            found = self._loggers.get(name)
            if found is None:
                found = self._loggers[name] = NamedLogger(name, self.effective(name))
            return found
        finally:
            lock.release()

    def passing(self, name: str) -> NamedLogger:
        """Return a logger of this name for one event, without a lock; not for keeping."""
        return self._loggers.get(name) or NamedLogger(name, self.effective(name))

    def effective(self, name: str) -> int:
        """Return the level that *name* has now."""
        prefix = "" if name == ROOT_NAME else name
        while prefix:
            level = self._levels.get(prefix)
            if level is not None:
                return level
            prefix = prefix.rpartition(".")[0]
        return self._levels[""]

    def get(self, prefix: str) -> int | None:
        """Return what was set for exactly this prefix ("" is the root), or None."""
        return self._levels.get(prefix)

    def set(self, prefix: str, level: int | None) -> None:
        """Set the level of a prefix ("" is the root), or with None take the setting back."""
        with self._lock:
            if level is not None:
                self._levels[prefix] = level
            elif prefix:
                self._levels.pop(prefix, None)
            self._apply()

    def reset(self, root: int) -> None:
        """Forget all prefixes and set the root's level."""
        with self._lock:
            self._levels = {"": root}
            self._apply()

    def save(self) -> dict[str, int]:
        """Return all settings, for :meth:`restore`."""
        with self._lock:
            return dict(self._levels)

    def restore(self, saved: dict[str, int]) -> None:
        """Put back what :meth:`save` returned."""
        with self._lock:
            self._levels = dict(saved)
            self._apply()

    def _apply(self) -> None:
        for name, logger in list(self._loggers.items()):
            logger.level = self.effective(name)
        for reference in list(self._seconds):
            second = reference()
            if second is not None:
                second.level = self.effective(second.name)


THRESHOLDS: Final = Thresholds()
"""The levels of this process: structlog's loggers are process-wide, so are they."""


def named_logger(name: str = ROOT_NAME) -> NamedLogger:
    """Return the process's logger of this name."""
    return THRESHOLDS.logger(name)
