"""What the processes that write one file share: a lock file, and a few facts inside it.

The lock is held only while somebody rolls.  The facts say which period the active file holds, so
that a restart and every other process agree about it, and which archive name was given last, so
that none is given twice even after the archives were moved away.

Format: one JSON object, padded with spaces to a fixed size and ended by a newline, so that it is
overwritten in place by one ``write`` and needs no new disk space.  Wrong or missing facts are no
error: the period then comes from the file's modification time, the index from the directory.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct import diagnostics
from pylog_struct._frozen import frozen
from pylog_struct.sinks._rolling.files import Ownership, open_or_create
from pylog_struct.sinks._rolling.locks import OpenFile

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RollLock", "RollState"]

_SIZE: Final = 1024
_ENDS_KEPT: Final = 12
VERSION: Final = 1


@frozen
class RollState:
    """The shared facts.

    Attributes:
        inode: The active file that ``period`` is about; 0 for none.
        period: The start of the period that the active file holds (wall-clock time).
        index: The ``%i`` of the active file, where it carries its final name from the start.
        last: Date and index of the archive that was made last.
        ends: When archives that took long to fill were ended: (date, index, end).
    """

    inode: int = 0
    period: datetime | None = None
    index: int = 0
    last: tuple[datetime, int] | None = None
    ends: tuple[tuple[datetime, int, datetime], ...] = ()

    def rolled(self, date: datetime, index: int, end: datetime | None) -> RollState:
        """Return the state after an archive got this date and index; *end* to remember its end."""
        ends = self.ends if end is None else (*self.ends, (date, index, end))[-_ENDS_KEPT:]
        return replace(self, last=(date, index), ends=ends)

    def encode(self) -> bytes:
        """Return the document that :meth:`decode` reads."""
        document: dict[str, Any] = {
            "version": VERSION,
            "inode": self.inode,
            "period": self.period,
            "index": self.index,
            "last": self.last,
            "ends": self.ends,
        }
        return orjson.dumps(document).ljust(_SIZE - 1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> RollState:
        """Return the state in *data*, or an empty one if that is not what it holds."""
        try:
            document = orjson.loads(data)
            if document["version"] != VERSION:
                return cls()
            last = document["last"]
            period = document["period"]
            return cls(
                inode=int(document["inode"]),
                period=None if period is None else datetime.fromisoformat(period),
                index=int(document["index"]),
                last=None if last is None else (datetime.fromisoformat(last[0]), int(last[1])),
                ends=tuple(
                    (datetime.fromisoformat(date), int(index), datetime.fromisoformat(end))
                    for date, index, end in document["ends"]
                ),
            )
        except (ValueError, TypeError, KeyError, IndexError):
            return cls()


class RollLock:
    """The lock file beside an active file (or in a directory of its own).

    Args:
        path: The lock file.
        ownership: How to create it.
        parents: Whether to create its directory.
    """

    def __init__(self, path: str, ownership: Ownership, *, parents: bool) -> None:
        self.path = path
        self._ownership = ownership
        self._parents = parents

    def peek(self) -> RollState:
        """Read the facts without the lock; they may be a moment old."""
        try:
            with open(self.path, "rb") as file:
                return RollState.decode(file.read(_SIZE))
        except OSError:
            return RollState()

    @contextlib.contextmanager
    def hold(self, timeout: float) -> Iterator[LockedState | None]:
        """Hold the lock; yields None if it could not be had within *timeout* seconds."""
        held: OpenFile | None = None
        try:
            held = self._acquire(timeout)
            yield None if held is None else LockedState(held)
        finally:
            if held is not None:
                held.close()

    def _acquire(self, timeout: float) -> OpenFile | None:
        for _ in range(3):
            try:
                fd = open_or_create(self.path, self._ownership, parents=self._parents, append=False)
            except OSError as error:
                diagnostics.report("rolling.lock", f"cannot open {self.path!r}", error)
                return None
            file = OpenFile(fd, self.path)
            if not file.lock(exclusive=True, timeout=timeout):
                file.close()
                return None
            if file.names_its_path():
                return file
            file.close()  # somebody removed the lock file while we waited: others use a new one
        return None


class LockedState:
    """The facts, while the lock is held."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file

    def read(self) -> RollState:
        """Return the facts."""
        try:
            os.lseek(self._file.fd, 0, os.SEEK_SET)
            return RollState.decode(os.read(self._file.fd, _SIZE))
        except OSError:
            return RollState()

    def write(self, state: RollState) -> None:
        """Replace the facts; a disk that refuses is reported, and costs no more than the facts."""
        data = state.encode()
        try:
            if len(data) != os.fstat(self._file.fd).st_size:
                os.ftruncate(self._file.fd, 0)  # of another version, or damaged
            os.lseek(self._file.fd, 0, os.SEEK_SET)
            os.write(self._file.fd, data)
        except OSError as error:
            diagnostics.report("rolling.state", f"cannot write {self._file.path!r}", error)
