"""Where records go that found no room and must not be lost: files of spilled records, in order.

A plain file on purpose, see ``docs/explanation/queue-policies.md``.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct.record import Record
from pylog_struct.sinks._queue.spill_file import HEADER_SIZE, SpillFile, private_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Spill"]

_LATE_RECORDS: Final = 1024  # left by nested calls with the one that they interrupted
_LATE_BYTES: Final = 1 << 20  # of all of them
_LATE_ROUNDS: Final = 3
_serial = itertools.count(1)


class Spill:
    """All spilled records of one queue: its own file, and leftovers of processes that are gone.

    Args:
        place: True for a private temporary file, a path for files beside it, False for none.
        max_bytes: Most bytes of the own file.
        name: The sink's name, for reports.
        lost: Told of a record that was accepted from a nested call and could not be stored.

    Accepted means: on this machine's disk (synced if the caller asked for it).
    Threads: thread-safe.  Blocks: an append waits for another one at most as long as it is told.
    Fork: the child closes its copies and starts with nothing.
    """

    def __init__(
        self, place: bool | str, max_bytes: int, name: str, lost: Callable[[Record], None]
    ) -> None:
        self._place = place
        self._max_bytes = max_bytes
        self._name = name
        self._lock = threading.Lock()  # guards everything below; only readers of numbers go without
        self._files: list[SpillFile] = []  # leftovers first, the own one last
        self._own: SpillFile | None = None
        self._peeked: list[tuple[int, int]] = []  # bytes and end offset of each
        self._closed = False
        self._lost = lost
        self._late: deque[Record] = deque()  # of nested calls that found the lock taken
        self.appended = 0
        """Records that ever came in, leftovers included."""
        self.settled = 0
        """Records that ever went out."""

    @property
    def enabled(self) -> bool:
        """Whether there is a place at all."""
        return self._place is not False

    @property
    def kept(self) -> bool:
        """Whether a later process will deliver what is left here."""
        return isinstance(self._place, str)

    @property
    def records(self) -> int:
        """Undelivered records."""
        return sum([file.records for file in list(self._files)]) + len(self._late)

    @property
    def bytes(self) -> int:
        """Bytes of their lines."""
        return sum([file.bytes for file in list(self._files)])

    @property
    def paths(self) -> list[Path]:
        """The files in use."""
        return [file.path for file in list(self._files)]

    def append(self, record: Record, *, sync: bool, wait: float) -> bool:
        """Put *record* into the own file.

        A nested call, which must not wait, may find the file busy: with the very call that it
        interrupted, or with another thread's.  It leaves the record with that one, which stores it
        before it goes on; a few records at most, larger ones and more of them are refused.

        Args:
            record: The record.
            sync: Whether it must be on the disk when this returns.
            wait: Most seconds to wait for another thread; 0 for a nested call.

        Returns:
            False if it could not be: no place, no room on it, an error, or closed.
        """
        if self._place is False or self._closed:
            return False
        if not self._lock.acquire(timeout=wait):
            late = len(record.line) + sum([len(other.line) for other in list(self._late)])
            if wait or len(self._late) >= _LATE_RECORDS or late > _LATE_BYTES:
                return False
            self._late.append(record)
            if self._lock.acquire(blocking=False):  # it became free in this moment
                self._release()
            return True
        try:
            return self._store(record, sync=sync)
        finally:
            self._release()

    def _store(self, record: Record, *, sync: bool) -> bool:
        if self._closed:
            return False
        try:
            if self._own is None:
                self._own = SpillFile.create(self._new_path())
                self._files.append(self._own)
            if self._own.write_at + len(record.line) > self._max_bytes + HEADER_SIZE:
                return False
            self._own.append(record, sync=sync)
        except OSError as error:
            diagnostics.report(f"spill {self._name}", f"{self._name}: no spill file", error)
            return False
        self.appended += 1
        return True

    def _release(self) -> None:
        """Store what nested calls left here, then give the lock back."""
        for _ in range(_LATE_ROUNDS):  # a bound: a handler that logs faster than disks are
            late = [self._late.popleft() for _ in range(len(self._late))]
            # One fsync for all of them: with the last.
            for position, record in enumerate(late):
                if not self._store(record, sync=position == len(late) - 1):
                    self._lost(record)
            self._lock.release()
            if not self._late or not self._lock.acquire(blocking=False):
                return
        self._lock.release()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.acquire()
        try:
            yield
        finally:
            self._release()

    def adopt(self) -> list[Record]:
        """Take over what dead owners of the same path left; return a bare record for each one.

        The records returned have a level and no line: they are there to be counted.
        """
        if not isinstance(self._place, str):
            return []
        base = Path(self._place)
        name = re.compile(re.escape(base.name) + r"\.([0-9]+)\.([0-9]+)")
        try:
            leftovers = sorted(
                (path for path in base.parent.iterdir() if name.fullmatch(path.name)),
                key=lambda path: (path.stat().st_mtime, path.name),
            )
        except OSError:  # no such directory yet, or none that can be read: nothing to take over
            return []
        found: list[Record] = []
        with self._locked():
            own = {file.path for file in self._files}
            for path in leftovers:
                file = None if path in own else SpillFile.adopt(path)
                if file is None:
                    continue
                if file.records == 0:
                    file.remove()
                    continue
                found.extend(Record(record.level, b"") for record, _ in file.frames())
                self._files.insert(len(self._files) - (self._own is not None), file)
                self.appended += file.records
        return found

    def peek(self, max_records: int, max_bytes: int) -> list[Record]:
        """Return the next batch to deliver; it stays here until :meth:`settle`."""
        with self._locked():
            if not self._files:
                return []
            try:
                found = self._files[0].batch(max_records, max_bytes)
            except OSError as error:  # deleted under us
                diagnostics.report(f"spill {self._name}", f"{self._name}: unreadable", error)
                found = []
            self._peeked = [(len(record.line), end) for record, end in found]
            return [record for record, _ in found]

    def settle(self, number: int) -> None:
        """Forget the first *number* records of the last :meth:`peek`: delivered, or given up."""
        with self._locked():
            if self._closed or not self._files or not number:
                return
            done, self._peeked = self._peeked[:number], self._peeked[number:]
            self.settled += len(done)
            file = self._files[0]
            try:
                file.delivered(len(done), sum([size for size, _ in done]), done[-1][1])
                if file.records == 0:
                    self._retire(file)
            except OSError as error:
                diagnostics.report(f"spill {self._name}", f"{file.path}: not updated", error)

    def give_up(self) -> int:
        """Forget the first file, which somebody damaged; return how many records it had left."""
        with self._locked():
            if self._closed or not self._files:
                return 0
            file = self._files[0]
            self._peeked = []
            self.settled += file.records
            self._retire(file)
            return file.records

    def _retire(self, file: SpillFile) -> None:
        self._files.remove(file)
        if file is self._own:
            self._own = None
        file.remove()

    def close(self) -> int:
        """Close the files; return how many records stay on the disk."""
        with self._locked():
            pass  # stores what nested calls left
        with self._locked():
            self._closed = True
            for file in self._files:
                file.close()
            return sum([file.records for file in self._files])

    def forget(self) -> None:
        """Close this process's copies without touching the files: the parent owns them."""
        for file in self._files:
            file.close()

    def _new_path(self) -> Path:
        unique = f"{os.getpid()}.{next(_serial)}"
        if isinstance(self._place, str):
            base = Path(self._place)
            base.parent.mkdir(parents=True, exist_ok=True)
            return base.with_name(f"{base.name}.{unique}")
        return (
            private_directory() / f"{self._name.replace(':', '_')}.{unique}.{os.urandom(4).hex()}"
        )
