"""Rolling by renaming: the active file keeps one path, archives get their final name at once.

An archive is made by a hard link to its new name and an unlink of the old one, so that an existing
archive is never replaced and a crash between the two steps can be told by the number of links.
Every step is under the roll lock; other writers go on undisturbed and notice within 100 ms.
"""

from __future__ import annotations

import errno
import os
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from pylog_struct.sinks._rolling.active import ActiveFile
from pylog_struct.sinks._rolling.archives import next_index
from pylog_struct.sinks._rolling.compression import temporary_name
from pylog_struct.sinks._rolling.files import (
    create,
    fsync_directory,
    make_parents,
    move_exclusive,
    remove_quietly,
)
from pylog_struct.sinks._rolling.pattern import NO_DATE
from pylog_struct.sinks._rolling.placement import Check, Roll, Segment, Trigger
from pylog_struct.sinks._rolling.plan import LOCK_TIMEOUT
from pylog_struct.sinks._rolling.state import LockedState, RollState

if TYPE_CHECKING:
    from datetime import datetime

    from pylog_struct.sinks._rolling.plan import Plan

__all__ = ["RenamePlacement"]

_TRIES: Final = 5


class RenamePlacement:
    """See :class:`~pylog_struct.sinks._rolling.placement.Placement`.

    Args:
        plan: The sink's plan; its ``path`` is set.
        path: The active file.
    """

    def __init__(self, plan: Plan, path: str) -> None:
        self._plan = plan
        self._path = path
        self._links = 1  # of the active file, as far as they are known to be somebody's own

    def open(self) -> Segment:
        """Open the active file and learn which period it holds."""
        plan = self._plan
        for _ in range(_TRIES):
            file = self._open_file()
            if not file.regular:
                return Segment(file, plan.next_start())
            try:
                state = plan.lock.peek()
                known = state.inode == file.inode and file.end and file.status.st_nlink == 1
                if known and state.period is not None:
                    return Segment(file, state.period)
                segment = self._agree(file)
            except BaseException:
                file.close()
                raise
            if segment is not None:
                return segment
            file.close()
        raise OSError(errno.EAGAIN, "rolled again and again while it was opened", self._path)

    def check(self, segment: Segment) -> Check:
        """Look whether the path still leads to the open file."""
        file = segment.file
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return "deleted"
        except OSError:
            return "moved"
        if not os.path.samestat(status, file.status):
            return "moved"
        if not file.regular:
            return "same"
        if status.st_nlink > 1 and status.st_nlink != self._links:
            # Another process is between the two steps of a roll-over, or died there.
            return "rolled"
        before, file.end = file.end, status.st_size
        return "truncated" if status.st_size < before else "same"

    def roll(self, segment: Segment, trigger: Trigger) -> Roll:
        """Link the active file to its archive's name, unlink it, and open a new one."""
        plan, file = self._plan, segment.file
        with plan.lock.hold(LOCK_TIMEOUT) as locked:
            if locked is None:
                return Roll("deferred", segment, why="another process holds the roll lock")
            if not file.names_its_path():
                return self._join(segment, "")
            if self._recover(file):
                return self._join(segment, "finished for a process that died")
            state = locked.read()
            period = segment.period
            if state.inode == file.inode and state.period is not None:
                period = segment.period = state.period
            size = file.end = file.look().st_size
            if not trigger(period, size):
                return Roll("kept", segment)
            start = plan.next_start(period)
            if not size:  # an empty file is no archive; it stands for the new period from now on
                segment.period = start
                locked.write(_begin(state, file.inode, start))
                return Roll("kept", segment)
            try:
                archive, state = self._archive(segment, start, locked, state)
            except OSError as error:
                locked.write(state)
                left = None if os.name == "nt" else segment
                return Roll("deferred", left, why=f"{type(error).__name__}: {error}")
            # The new file is opened and the facts are written before anybody else may roll.
            file.close()
            try:
                replacement = Segment(self._open_file(), start)
            except OSError:  # the archive is made nevertheless; the next write says what is wrong
                replacement = None
            inode = 0 if replacement is None else replacement.file.inode
            locked.write(_begin(state, inode, start))
        if plan.fsync:
            fsync_directory(archive)
            fsync_directory(self._path)
        return Roll("rolled", replacement, archive, size)

    # -- opening ----------------------------------------------------------------------------------

    def _open_file(self) -> ActiveFile:
        for _ in range(_TRIES):
            file = ActiveFile(self._path, self._plan.ownership, parents=self._plan.parents)
            if not file.regular or file.names_its_path():
                self._links = 1
                return file
            file.close()  # rolled between opening and locking: it may be an archive by now
        raise OSError(errno.EAGAIN, "replaced again and again while it was opened", self._path)

    def _agree(self, file: ActiveFile) -> Segment | None:
        """Settle with the other processes which period *file* holds; None: it is an archive now."""
        plan = self._plan
        with plan.lock.hold(LOCK_TIMEOUT) as locked:
            state = RollState() if locked is None else locked.read()
            if locked is not None and (not file.names_its_path() or self._recover(file)):
                return None
            status = file.look()
            file.end = status.st_size
            if status.st_size and state.inode == file.inode and state.period is not None:
                return Segment(file, state.period)
            if status.st_size:
                period = plan.start(status.st_mtime)
            else:
                period = plan.next_start(_last_date(state))
            if locked is not None:
                locked.write(_begin(state, file.inode, period))
            return Segment(file, period)

    def _join(self, segment: Segment, why: str) -> Roll:
        segment.file.close()
        replacement = self._open_file()
        state = self._plan.lock.peek()
        period = state.period
        if state.inode != replacement.inode or period is None:
            period = self._plan.next_start(_last_date(state))
        return Roll("joined", Segment(replacement, period), why=why)

    def _recover(self, file: ActiveFile) -> bool:
        """Finish a roll-over whose process died between link and unlink; whether there was one."""
        status = file.look()
        if status.st_nlink < 2:
            return False
        for entry, _, _, compressed in self._plan.pattern.walk():
            if compressed or entry.inode() != status.st_ino:
                continue
            if os.path.samestat(entry.stat(follow_symlinks=False), status):
                os.unlink(file.target)
                return True
        self._links = status.st_nlink  # somebody's own hard link: none of our business
        return False

    # -- archiving --------------------------------------------------------------------------------

    def _archive(
        self, segment: Segment, start: datetime, locked: LockedState, before: RollState
    ) -> tuple[str, RollState]:
        """Move the active file to a name that was never given; return that and the new facts."""
        pattern, period, file = self._plan.pattern, segment.period, segment.file
        index = next_index(pattern, period, before.last)
        end = self._long(period, start)
        archive = ""
        for _ in range(_TRIES):
            archive = pattern.format(period, index)
            # Written down first: a crash may waste a name, but never have it given twice.
            state = before.rolled(pattern.key(period), index, end)
            locked.write(state)
            try:
                self._move(file, archive)
            except FileExistsError:
                index += 1  # by somebody who does not know our lock
            except FileNotFoundError:
                # The directory of its date is new, or was just removed because it was empty.
                make_parents(archive, self._plan.ownership)
            else:
                return archive, state
        raise FileExistsError(errno.EEXIST, "no free name", archive)

    def _move(self, file: ActiveFile, archive: str) -> None:
        if os.name == "nt":
            file.close()  # Windows renames no open file
        try:
            move_exclusive(file.target, archive)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(file, archive)

    def _copy(self, file: ActiveFile, archive: str) -> None:
        """Move to another file system: copy, make durable, name, unlink; only while we are alone."""
        if not file.lock_alone():
            raise OSError(errno.EXDEV, "on another file system, and other processes write the file")
        temporary = temporary_name(archive)
        try:
            make_parents(archive, self._plan.ownership)
            remove_quietly(temporary)
            copy = create(temporary, self._plan.ownership, like=file.status, append=False)
            with os.fdopen(copy, "wb") as target, open(file.target, "rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            move_exclusive(temporary, archive)
            fsync_directory(archive)
        except BaseException:
            remove_quietly(temporary)
            raise
        else:
            os.unlink(file.target)
        finally:
            file.lock_shared()

    def _long(self, period: datetime, end: datetime) -> datetime | None:
        """*end*, if the name alone would make the archive look much older than its last line."""
        limit = self._plan.retention.max_age
        if limit is None or self._plan.schedule is not None:
            return None
        return end if end - period > timedelta(seconds=limit / 8) else None


def _last_date(state: RollState) -> datetime | None:
    return None if state.last is None or state.last[0] == NO_DATE else state.last[0]


def _begin(state: RollState, inode: int, period: datetime) -> RollState:
    return RollState(inode, period, 0, state.last, state.ends)
