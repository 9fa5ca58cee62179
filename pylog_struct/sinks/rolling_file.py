"""Files that roll over by size and time, are compressed and expire, and may be shared by processes."""

from __future__ import annotations

import os  # noqa: TC003 - annotations are read at run time by the configuration
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import ConfigError, SinkUnavailableError
from pylog_struct.sinks._rolling.announcer import Announcer
from pylog_struct.sinks._rolling.direct import DirectPlacement
from pylog_struct.sinks._rolling.events import FileEvent, FileListener
from pylog_struct.sinks._rolling.files import fsync_directory
from pylog_struct.sinks._rolling.latest import link_latest
from pylog_struct.sinks._rolling.options import make_plan
from pylog_struct.sinks._rolling.rename import RenamePlacement
from pylog_struct.sinks._rolling.upkeep import Upkeep
from pylog_struct.sinks.base import BaseSink, Deadline, translate
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pylog_struct.record import Record
    from pylog_struct.sinks._rolling.active import ActiveFile
    from pylog_struct.sinks._rolling.placement import Placement, Roll, Segment

__all__ = ["FileEvent", "FileListener", "RollingFileSink"]

_line_of: Final = itemgetter(1)

_SAMPLED: Final = 15  # one single line in sixteen is timed
_LOOK: Final = 0.1  # seconds between two looks at the path
_IDLE_LOOK: Final = 1.0  # the same while nothing is written
_BACK_OFF: Final = (1.0, 60.0)  # seconds after a deferred roll-over: first, most
_ROLLS: Final = 3  # tries for one record: the file that others began may be full again


class RollingFileSink(BaseSink):
    """Appends lines to a file and rolls it over by size, by time, or both.

    Accepted means: in the kernel, by one ``write(2)`` for a batch; with *fsync*, on the disk.
    A line is never split or joined with another, also when several processes write the file.
    What is on the disk (names, locks, modes) is specified in ``docs/reference/rolling-files.md``.

    Args:
        path: The active file.  None, with a *pattern*: every file has its final name from the
            start and nothing is renamed.
        pattern: Names of archives: ``%d{yyyy-MM-dd-HH}`` (the finest unit is the roll interval),
            ``%i`` or ``%03i``; an ending ``.gz``, ``.bz2``, ``.xz`` or ``.zst`` compresses.  By
            default ``app.jsonl`` gives ``app-%d{yyyy-MM-dd-HH-mm-ss}-%i.jsonl``, where the date
            is when the file was begun and is no trigger.
        max_bytes: Roll before a record would make the file larger; only a record that is larger
            itself does.  A number of bytes, or text such as ``"100 MB"``.
        max_files: Archives to keep, the newest.
        max_age: Archives go when their period, by the date in the name, ended longer ago than
            this: seconds, or text such as ``"30 days"``.
        max_total_bytes: Bytes that all archives together may have; the oldest go.
        interval: Roll by time, aligned to the calendar: ``"15 minutes"``, ``"6 hours"``,
            ``"day"``, ``"2 weeks"``, ``"month"``, or seconds.  Overrides the unit of *pattern*.
        at: Roll at a time of day or a weekday: ``"03:00"``, ``"monday"``, ``"monday 03:00"``.
        on_start: Roll what an earlier run left when the sink opens the file for the first time
            and no other process has it open: True, or the least size for it.
        utc: Dates and boundaries in UTC instead of local time.
        mode: Mode of every file from its creation, whatever the umask.
        owner: User of new files: name or number.
        group: Group of new files: name or number.
        fsync: Make every batch durable before ``write`` returns.
        latest: A symbolic link that always leads to the active file: its path, or True for
            ``app-latest.jsonl`` beside it.
        compression_level: Level of the compression; by default the codec's usual one.
        compress_delay: Seconds (or text) that an archive stays plain, for those who still read it.
        retention_interval: Time between two looks at the archives without a roll-over.
        on_event: Called with a :class:`FileEvent`; what it raises is contained and reported.
            Called by the thread that writes, or by the janitor's for ``compressed``, ``deleted``
            and ``would_delete``.
        dry_run: Retention deletes nothing, and tells *on_event* what it would delete.
        lock_dir: Directory of the lock file; by default beside the active file.
        create_parents: Create missing directories.
        name: The sink's name in metrics and statistics.
        clock: Where the time comes from.

    Raises:
        ConfigError: an argument is wrong; nothing was opened.

    Threads: one caller at a time; compression and retention run on the janitor's thread.
    Blocks: for the file system, and at most 0.5 s for another process that rolls.
    Fork: the child opens the file anew on its first write; an inherited lock is no lock.
    Metrics: ``rollovers.<size|time|start>``, ``archives_deleted.<count|age|total_bytes>``; also in
    the details: ``rollovers_deferred``.
    """

    type_name = "rolling_file"

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        pattern: str | os.PathLike[str] | None = None,
        max_bytes: int | str | None = None,
        max_files: int | None = None,
        max_age: float | str | None = None,
        max_total_bytes: int | str | None = None,
        interval: float | str | None = None,
        at: str | None = None,
        on_start: bool | int | str = False,
        utc: bool = False,
        mode: int | str = 0o640,
        owner: str | int | None = None,
        group: str | int | None = None,
        fsync: bool = False,
        latest: bool | str | os.PathLike[str] | None = None,
        compression_level: int | None = None,
        compress_delay: float | str = 0.0,
        retention_interval: float | str = "1 hour",
        on_event: FileListener | None = None,
        dry_run: bool = False,
        lock_dir: str | os.PathLike[str] | None = None,
        create_parents: bool = True,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        options = {
            key: value for key, value in locals().items() if key not in {"self", "__class__"}
        }
        super().__init__(name=name)
        if on_event is not None and not callable(on_event):
            raise ConfigError(
                f"RollingFileSink.on_event: {on_event!r} cannot be called; give a function of one argument"
            )
        self._plan = plan = make_plan(options, clock, lambda: self.name)
        interval = parse_duration(
            retention_interval, "RollingFileSink.retention_interval", exclusive=True
        )
        self._announcer = Announcer(plan, on_event)
        self._clock = clock
        self._monotonic = clock.monotonic
        limit = plan.max_bytes
        self._limit = float("inf") if limit is None else limit
        self._placement: Placement = (
            DirectPlacement(plan) if plan.path is None else RenamePlacement(plan, plan.path)
        )
        self._upkeep = Upkeep(self, plan, interval, self.ledger, self._announcer.tell)
        self._started = False
        self._forget()

    def _forget(self) -> None:
        """Know nothing about any open file: at first, and in the child of a fork."""
        self._segment: Segment | None = None
        # While write_line() may be used: until this (monotonic), before that (Unix time, ns).
        self._simple_until = 0.0
        self._simple_before = 0.0
        self._simple_file: ActiveFile
        self._boundary = 0.0  # Unix time before which no roll-over by time is due
        self._next_look = 0.0  # monotonic
        self._roll_after = 0.0  # monotonic; later than now while a roll-over is deferred
        self._back_off = _BACK_OFF[0]
        self._announcer.forget()
        self._upkeep.forget()
        self._wrote = False

    # -- the contract -----------------------------------------------------------------------------

    def _write(self, batch: Sequence[Record]) -> None:
        self._wrote = True
        self._simple_until = 0.0
        try:
            self._append(batch)
            self._make_simple()
        finally:
            self._announcer.tell_all()

    def write_line(self, line: bytes, moment: int) -> bool:
        """Write one line if that takes two system calls and nothing else: the hot path without a queue.

        Args:
            line: As in a record.
            moment: When the call was made, in nanoseconds since 1970.

        Returns:
            False if nothing was done: the file is to be opened, looked at, rolled, synchronised or
            repaired first.  :meth:`write` does all that.
        """
        started = self._monotonic()
        if started >= self._simple_until or moment >= self._simple_before:
            return False
        file = self._simple_file
        size = len(line)
        if file.end + size >= self._limit:
            return False
        self._wrote = True
        try:
            if not file.append_line(line):
                return False
        except OSError:
            return False  # nothing is in the file, and the long way says why
        ledger = self.ledger
        if not ledger.written & _SAMPLED:
            ledger.write_seconds.observe(self._monotonic() - started)
        # No call from here on, and so no lock: see HAS_GIL.
        ledger.received += 1
        ledger.written += 1
        ledger.bytes_written += size
        return True

    def _make_simple(self) -> None:
        """Say until when a line can simply be written."""
        segment = self._segment
        if segment is None or self._closed or self._plan.fsync or not segment.file.regular:
            self._simple_until = 0.0
        elif self._roll_after <= self._monotonic():
            self._simple_file = segment.file
            self._simple_before = self._boundary * 1e9
            self._simple_until = self._next_look

    def _flush(self, timeout: float | None) -> None:
        """Nothing is buffered here: what was accepted is in the kernel, or on the disk with *fsync*."""

    def _close(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        self._simple_until = 0.0
        try:
            self._upkeep.join(deadline.remaining())
        finally:
            self._drop_segment()

    def poll(self, now: float, /) -> float | None:
        """Roll over by time without a write, notice other processes, look after the archives.

        Returns:
            Seconds until the next call is wanted; None before the first write and after close.
        """
        if self._closed or self._segment is None:
            return None if self._closed else self._upkeep.poll(now)
        self._simple_until = 0.0
        try:
            self._look(now)
            if self._segment is not None and now >= self._roll_after and self._due_by_time():
                self._roll("time", 0)
        except OSError as error:  # the next write opens the file again, or says so to its caller
            self._drop_segment()
            self.ledger.failed(translate(error, (), self.name))
        finally:
            self._announcer.tell_all()
        waits = [_LOOK if self._wrote else _IDLE_LOOK]
        self._wrote = False
        if now < self._roll_after:
            waits.append(self._roll_after - now)
        elif self._boundary != float("inf"):
            waits.append(max(self._boundary - self._clock.time(), 0.001))
        if (wait := self._upkeep.poll(now)) is not None:
            waits.append(wait)
        return min(waits)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._forget()  # the descriptors were closed by their owners, unlocking nothing
        self._started = True  # the parent's file is nothing that an earlier run left

    # -- writing ----------------------------------------------------------------------------------

    def _append(self, batch: Sequence[Record]) -> None:
        position = 0
        stalled = False
        while position < len(batch):
            try:
                file = self._ready(len(batch[position][1]) + 1).file
                count = self._fitting(file.end, batch, position)
                chunk = batch if count == len(batch) else batch[position : position + count]
                written = file.append(chunk)
            except OSError as error:
                raise SinkUnavailableError(
                    f"{self.name}: {type(error).__name__}: {error}", batch[position:]
                ) from error
            if not written and stalled:
                raise SinkUnavailableError(
                    f"{self.name}: {file.path!r} takes only parts of a line", batch[position:]
                )
            stalled = not written
            position += written
            if self._plan.fsync:
                self._sync(batch[position:])

    def _sync(self, unwritten: Sequence[Record]) -> None:
        assert self._segment is not None  # noqa: S101 - for the type checker: we just wrote to it
        if not self._segment.file.regular:
            return
        try:
            self._segment.file.sync()
        except OSError as error:
            raise SinkUnavailableError(
                f"{self.name}: fsync: {type(error).__name__}: {error}", unwritten
            ) from error

    def _fitting(self, end: int, batch: Sequence[Record], position: int) -> int:
        """How many records, at least one, to write before the next look at the size."""
        limit = self._plan.max_bytes
        left = len(batch) - position
        if limit is None or self._clock.monotonic() < self._roll_after:
            return left
        rest = batch[position:] if position else batch
        sizes = list(map(len, map(_line_of, rest)))
        if end + sum(sizes) + left <= limit:
            return left
        ends = accumulate([size + 1 for size in sizes], initial=end)
        return max(sum([each <= limit for each in ends]) - 1, 1)

    def _ready(self, size: int) -> Segment:
        """Return the file to write a record of *size* bytes to: opened, looked at, rolled if due."""
        now = self._clock.monotonic()
        if self._segment is not None and now >= self._next_look:
            self._look(now)
        if self._segment is None:
            self._open(now)
        for _ in range(_ROLLS):
            if now < self._roll_after:
                break
            if self._due_by_time():
                self._roll("time", size)
            elif self._too_large(self._opened().file.end, size):
                self._roll("size", size)
            else:
                break
        return self._opened()

    def _opened(self) -> Segment:
        if self._segment is None:  # a roll-over could not open the next file
            self._open(self._clock.monotonic())
        assert self._segment is not None  # noqa: S101 - for the type checker: _open raises instead
        return self._segment

    def _too_large(self, end: int, size: int) -> bool:
        limit = self._plan.max_bytes
        return limit is not None and end > 0 and end + size > limit

    def _due_by_time(self) -> bool:
        if self._clock.time() < self._boundary:
            return False
        segment = self._opened()
        if segment.file.regular and self._plan.due(segment.period):
            return True
        self._boundary = self._plan.boundary(segment.period)
        return False

    # -- opening and looking ----------------------------------------------------------------------

    def _open(self, now: float) -> None:
        self._take(self._placement.open(), now)
        segment = self._opened()
        self._announcer.note("opened", segment.file.path, "start" if not self._started else "again")
        if self._plan.fsync:
            fsync_directory(segment.file.target)
        first, self._started = not self._started, True
        least = self._plan.on_start
        if first and least is not None and segment.file.alone and segment.file.end >= least:
            self._roll("start", 0)
        self._upkeep.queue(now)

    def _take(self, segment: Segment | None, now: float) -> None:
        self._segment = segment
        self._next_look = now + _LOOK
        self._boundary = 0.0 if self._plan.schedule is not None else float("inf")
        if segment is not None and self._plan.latest is not None:
            link_latest(self._plan.latest, segment.file.path, self.name)

    def _look(self, now: float) -> None:
        """See whether the path still leads to the open file; open it again if not."""
        segment = self._segment
        if segment is None:
            return
        self._next_look = now + _LOOK
        # A descriptor that somebody closed may lead to a file of theirs by now.
        found = self._placement.check(segment) if segment.file.is_intact() else "closed"
        if self._plan.schedule is not None and self._plan.went_back(segment.period):
            self._boundary = 0.0
        if found == "truncated":
            self._announcer.note("reopened", segment.file.path, found, segment.file.end)
        elif found != "same":
            self._drop_segment()
            self._take(self._placement.open(), now)
            self._announcer.note("reopened", self._opened().file.path, found)
        # Whoever rolled may have died before it could compress and delete.
        if found == "rolled" or self._upkeep.is_due(now):
            self._upkeep.queue(now)

    def _drop_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.file.close()

    # -- rolling ----------------------------------------------------------------------------------

    def _roll(self, reason: str, size: int) -> None:
        segment = self._opened()
        now = self._clock.monotonic()

        def still_due(period: datetime, end: int) -> bool:
            if reason == "time":
                return self._plan.due(period)
            return self._too_large(end, size) if reason == "size" else end > 0

        try:
            result = self._placement.roll(segment, still_due)
        except OSError:
            self._drop_segment()
            raise
        if result.kind == "deferred":
            self._defer(result, segment, now)
            return
        self._back_off = _BACK_OFF[0]
        self._take(result.segment, now)
        if result.kind == "rolled":
            self.ledger.count(f"rollovers.{reason}")
            self._announcer.note("rolled", result.archive, reason, result.size)
            self._upkeep.after_roll(now)
        if result.why:
            self._upkeep.queue(now)

    def _defer(self, result: Roll, segment: Segment, now: float) -> None:
        self._segment = result.segment
        self._roll_after = now + self._back_off
        self._back_off = min(self._back_off * 2, _BACK_OFF[1])
        self.ledger.count("rollovers_deferred")
        self._announcer.note("deferred", segment.file.path, result.why, segment.file.end)
        diagnostics.report(
            f"rolling.deferred {self.name}",
            f"{self.name}: roll-over of {segment.file.path!r} deferred: {result.why}",
        )
