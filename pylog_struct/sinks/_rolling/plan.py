"""What the user asked for, checked and worked out: the immutable input of everything else here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pylog_struct._frozen import frozen
from pylog_struct.sinks._rolling.events import FileEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.clock import Clock
    from pylog_struct.sinks._rolling.compression import Codec
    from pylog_struct.sinks._rolling.events import EventKind
    from pylog_struct.sinks._rolling.files import Ownership
    from pylog_struct.sinks._rolling.pattern import Pattern
    from pylog_struct.sinks._rolling.periods import Schedule, WallClock
    from pylog_struct.sinks._rolling.state import RollLock

__all__ = ["Plan", "Retention"]

LOCK_TIMEOUT = 0.5
"""Longest wait for the roll lock on the write path, in seconds; then the roll-over is deferred."""

STEP_BACK_LIMIT = timedelta(days=1)
"""A clock that went back further than this (and a period) was wrong before: believe it now."""


@frozen
class Retention:
    """Which archives to keep; None means no such limit."""

    max_files: int | None = None
    max_age: float | None = None
    max_total_bytes: int | None = None
    dry_run: bool = False

    @property
    def limits(self) -> bool:
        """Whether anything is ever deleted."""
        return not (self.max_files is self.max_age is self.max_total_bytes is None)


@frozen
class Plan:
    """Every decision of one sink.

    Attributes:
        path: The active file, or None where it carries its final name from the start.
        pattern: The names of archives.
        schedule: When to roll by time, or None.
        wall: The clock on the wall in the zone of the names.
        max_bytes: When to roll by size, or None.
        on_start: The least size to roll at start-up, or None for no such roll-over.
        ownership: Mode and owner of new files.
        codec: How to compress archives, or None.
        compress_delay: Seconds that an archive stays plain.
        retention: Which archives to keep.
        lock: The roll lock and the shared facts.
        latest: Where to keep a symbolic link to the active file, or None.
        parents: Whether to create missing directories.
        fsync: Whether every batch is made durable.
        clock: The time.
        name: Gives the sink's name, which a tree may change after construction.
    """

    path: str | None
    pattern: Pattern
    schedule: Schedule | None
    wall: WallClock
    max_bytes: int | None
    on_start: int | None
    ownership: Ownership
    codec: Codec | None
    compress_delay: float
    retention: Retention
    lock: RollLock
    latest: str | None
    parents: bool
    fsync: bool
    clock: Clock
    name: Callable[[], str]

    def event(self, kind: EventKind, path: str, reason: str, size: int = 0) -> FileEvent:
        """Return an event of this sink, of now."""
        return FileEvent(kind, self.name(), path, reason, self.clock.time(), size)

    def start(self, moment: float) -> datetime:
        """Return the start of the period that holds *moment*; without a schedule, *moment* itself."""
        wall = self.wall.wall(moment)
        return wall if self.schedule is None else self.schedule.start(wall)

    def next_start(self, *earlier: datetime | None) -> datetime:
        """Return the start of the period that a file begun now holds.

        Never before any of *earlier*, so that names do not go back when the clock does, unless
        the clock went back so far that it must have been wrong before.
        """
        start = self.start(self.clock.time())
        for before in earlier:
            if before is not None and start < before and not self.went_back(before):
                start = before
        return start

    def went_back(self, period: datetime) -> bool:
        """Whether *period* lies so far ahead of the clock that the clock must have been wrong."""
        slack = STEP_BACK_LIMIT
        if self.schedule is not None:
            slack += timedelta(seconds=2 * self.schedule.seconds)
        return period - self.wall.wall(self.clock.time()) > slack

    def due(self, period: datetime) -> bool:
        """Whether a file that holds *period* is to be rolled by time."""
        if self.schedule is None:
            return False
        return self.start(self.clock.time()) > period or self.went_back(period)

    def boundary(self, period: datetime) -> float:
        """Return the moment (Unix seconds) before which :meth:`due` stays False."""
        if self.schedule is None:
            return float("inf")
        now = self.clock.time()
        moment = self.wall.instant(self.schedule.end(period))
        # In an hour that is shown twice the first showing may be over: look again every second.
        return moment if moment > now else now + 1.0
