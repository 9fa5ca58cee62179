"""Rolling without a rename: every file carries its final name from its first line.

Which file is the active one is written down in the shared facts, so that all processes write to the
same; without facts it is the newest plain file of the period.  A restart goes on with that file.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from pylog_struct.sinks._rolling.active import ActiveFile
from pylog_struct.sinks._rolling.archives import next_index
from pylog_struct.sinks._rolling.files import fsync_directory, remove_quietly
from pylog_struct.sinks._rolling.placement import Check, Roll, Segment, Trigger
from pylog_struct.sinks._rolling.plan import LOCK_TIMEOUT
from pylog_struct.sinks._rolling.state import RollState

if TYPE_CHECKING:
    from datetime import datetime

    from pylog_struct.sinks._rolling.plan import Plan
    from pylog_struct.sinks._rolling.state import LockedState

__all__ = ["DirectPlacement"]

_TRIES: Final = 5


class DirectPlacement:
    """See :class:`~pylog_struct.sinks._rolling.placement.Placement`.

    Args:
        plan: The sink's plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def open(self) -> Segment:
        """Open the file that the other processes write to, or start one."""
        plan = self._plan
        with plan.lock.hold(LOCK_TIMEOUT) as locked:
            state = plan.lock.peek() if locked is None else locked.read()
            return self._open_current(locked, state)

    def check(self, segment: Segment) -> Check:
        """Look whether the path still leads to the open file, and whether the others moved on."""
        file = segment.file
        state = self._plan.lock.peek()
        if self._moved_on(state, segment):
            return "rolled"
        try:
            status = os.stat(file.target)
        except FileNotFoundError:
            return "deleted"
        except OSError:
            return "moved"
        if not os.path.samestat(status, file.status):
            return "moved"
        before, file.end = file.end, status.st_size
        return "truncated" if status.st_size < before else "same"

    def roll(self, segment: Segment, trigger: Trigger) -> Roll:
        """Leave the active file as it is, and start the next one."""
        plan, file = self._plan, segment.file
        with plan.lock.hold(LOCK_TIMEOUT) as locked:
            if locked is None:
                return Roll("deferred", segment, why="another process holds the roll lock")
            state = locked.read()
            if self._moved_on(state, segment):
                file.close()
                return Roll("joined", self._open_current(locked, state))
            size = file.end = file.look().st_size
            if not trigger(segment.period, size):
                return Roll("kept", segment)
            start = plan.next_start(segment.period)
            key = plan.pattern.key
            last = (key(segment.period), segment.index)
            if not size and key(start) == last[0]:
                segment.period = start
                locked.write(_facts(state, start, segment.index))
                return Roll("kept", segment)
            index = next_index(plan.pattern, start, last)
            locked.write(_facts(state, start, index))
            replacement, why = None, "the next file was taken"
            try:
                replacement = self._open_file(start, index)
            except OSError as error:
                why = f"{type(error).__name__}: {error}"
            if replacement is None:
                locked.write(_facts(state, segment.period, segment.index))
                return Roll("deferred", segment, why=why)
            if not size and file.lock_alone():
                remove_quietly(file.target)  # nothing was ever written: no archive
            file.close()
        if plan.fsync:
            fsync_directory(replacement.file.path)
        return Roll("rolled" if size else "joined", replacement, file.target, size)

    def _open_current(self, locked: LockedState | None, state: RollState) -> Segment:
        """Open the file that the facts name, or the next one if it is an archive by now."""
        period, index = self._current(state)
        for _ in range(_TRIES):
            if locked is not None:  # before the file exists: nobody may take it for an archive
                locked.write(_facts(state, period, index))
            segment = self._open_file(period, index)
            if segment is not None:
                return segment
            index += 1  # compressed between our look and our lock
        raise OSError(errno.EAGAIN, "no file could be opened", self._plan.pattern.text)

    def _current(self, state: RollState) -> tuple[datetime, int]:
        """Period and index of the file to write to."""
        plan = self._plan
        pattern = plan.pattern
        start = plan.next_start(state.period)
        if state.period is not None and pattern.key(state.period) == pattern.key(start):
            path = pattern.format(state.period, state.index)
            if self._usable(path):
                return state.period, state.index
            return start, next_index(pattern, start, (pattern.key(start), state.index))
        newest = max(pattern.of_date(start), default=None)
        if newest is not None and not newest[1] and self._usable(pattern.format(start, newest[0])):
            return start, newest[0]
        return start, next_index(pattern, start, None)

    def _usable(self, path: str) -> bool:
        """Whether to go on with *path*: it is not compressed, and is a file or nothing at all."""
        pattern = self._plan.pattern
        if pattern.ending and os.path.lexists(path + pattern.ending):
            return False
        return not os.path.lexists(path) or (os.path.isfile(path) and not os.path.islink(path))

    def _open_file(self, period: datetime, index: int) -> Segment | None:
        """Open one file; None if it was compressed or removed before we had locked it."""
        path = self._plan.pattern.format(period, index)
        file = ActiveFile(path, self._plan.ownership, parents=self._plan.parents)
        twin = bool(self._plan.pattern.ending) and os.path.lexists(path + self._plan.pattern.ending)
        if file.names_its_path() and file.regular and not twin:
            return Segment(file, period, index)
        if twin and not file.end:
            remove_quietly(path)  # we made it again after it was compressed
        file.close()
        return None

    def _moved_on(self, state: RollState, segment: Segment) -> bool:
        return state.period is not None and (state.period, state.index) != (
            segment.period,
            segment.index,
        )


def _facts(state: RollState, period: datetime, index: int) -> RollState:
    return RollState(0, period, index, state.last, state.ends)
