"""The spill file: where records go that found no room and must not be lost.

Format, one file a process and queue: a header line ``pylog-spill 1 <offset>`` (20 digits: where the
first record starts that is not delivered yet), then one line a record::

    <level> <created> <length of the line> <crc32 of the line, hex> <the line>

A line that is cut short, or whose length or checksum is wrong, ends the file: only the tail can be
torn, because records are appended in order.  The file is removed once everything in it is delivered.

Own design; a plain file on purpose, see ``docs/explanation/queue-policies.md``.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import tempfile
import threading
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

import portalocker

from pylog_struct import diagnostics
from pylog_struct.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Spill", "SpillFile"]

_HEADER: Final = b"pylog-spill 1 %020d\n"
_HEADER_SIZE: Final = len(_HEADER % 0)
_OFFSET_AT: Final = _HEADER_SIZE - 21
_serial = itertools.count(1)


def _frame(record: Record) -> bytes:
    level, line, created = record
    return b"%d %r %d %08x %b\n" % (level, created, len(line), zlib.crc32(line), line)


def _unframe(data: bytes, file: IO[bytes]) -> Record | None:
    """Return the record whose first line is *data*, reading on if the record holds newlines."""
    parts = data.split(b" ", 4)
    if len(parts) != 5:
        return None
    try:
        level, created, length = int(parts[0]), float(parts[1]), int(parts[2])
        checksum = int(parts[3], 16)
    except ValueError:
        return None
    line = parts[4]
    if len(line) <= length:
        line += file.read(length + 1 - len(line))
    if len(line) != length + 1 or line[-1:] != b"\n" or zlib.crc32(line[:-1]) != checksum:
        return None
    return Record(level, line[:-1], created)


class SpillFile:
    """One file of spilled records, open and locked by this process.

    Args:
        path: Its name.
        file: The open, locked file.
        read_at: Where the first undelivered record starts.
        write_at: Where the next one goes; what lies behind it is torn.
    """

    def __init__(self, path: Path, file: io.FileIO, read_at: int, write_at: int) -> None:
        self.path = path
        self.read_at = read_at
        self.write_at = write_at
        self.records = 0
        self.bytes = 0
        self._file = file

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create *path*, which must not exist, readable by its owner only.

        Raises:
            OSError: it cannot be made.
        """
        # Locked under another name first: a starting process must not take it for a leftover.
        draft = path.with_name(f".{path.name}.new")
        file = _open(draft, os.O_CREAT | os.O_EXCL)
        try:
            _lock(file)
            _write_all(file, _HEADER % _HEADER_SIZE)
            draft.rename(path)
            _sync_directory(path.parent)
        except BaseException:
            file.close()
            draft.unlink(missing_ok=True)
            raise
        return cls(path, file, _HEADER_SIZE, _HEADER_SIZE)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Open a file of a process that is gone; None if its owner lives or it is none of ours."""
        try:
            file = _open(path, 0)
        except OSError:
            return None
        try:
            _lock(file)
            same = os.fstat(file.fileno()).st_ino == path.stat().st_ino
            offset = _read_offset(file) if same else None
        except (OSError, portalocker.LockException):
            offset = None
        if offset is None:
            file.close()
            return None
        found = cls(path, file, offset, os.fstat(file.fileno()).st_size)
        end = offset
        for record, position in found.frames():
            found.records += 1
            found.bytes += len(record.line)
            end = position
        found.write_at = end
        return found

    def append(self, record: Record, *, sync: bool) -> None:
        """Add *record*, on the disk if *sync*; on an error the file is as it was before.

        Raises:
            OSError: it could not be written, or not be synced.
        """
        frame = _frame(record)
        try:
            self._file.seek(self.write_at)
            _write_all(self._file, frame)
            if sync:
                os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(self.write_at)
            raise
        self.write_at += len(frame)
        self.records += 1
        self.bytes += len(record.line)

    def batch(self, max_records: int, max_bytes: int) -> list[tuple[Record, int]]:
        """Return the next records to deliver, each with the offset behind it."""
        found: list[tuple[Record, int]] = []
        total = 0
        for record, position in self.frames():
            total += len(record.line)
            if found and total > max_bytes:
                break
            found.append((record, position))
            if len(found) >= max_records:
                break
        return found

    def delivered(self, records: int, size: int, end: int) -> None:
        """Move the start of the undelivered records to *end*, in the file too.

        Raises:
            OSError: the file does not know it now; after a crash they would be delivered again.
        """
        self.records -= records
        self.bytes -= size
        self.read_at = end
        self._file.seek(_OFFSET_AT)
        _write_all(self._file, b"%020d" % end)

    def remove(self) -> None:
        """Delete and close the file."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def close(self) -> None:
        """Close the file and leave it, unlocked, to whoever comes next."""
        self._file.close()

    def frames(self) -> Iterator[tuple[Record, int]]:
        """Yield the undelivered records, each with the offset behind it."""
        with self.path.open("rb") as file:
            position = self.read_at
            file.seek(position)
            while position < self.write_at:
                record = _unframe(file.readline(), file)
                if record is None:
                    return
                position = file.tell()
                yield record, position


class Spill:
    """All spilled records of one queue: its own file, and leftovers of processes that are gone.

    Args:
        place: True for a private temporary file, a path for files beside it, False for none.
        max_bytes: Most bytes of the own file.
        name: The sink's name, for reports.

    Accepted means: on this machine's disk (synced if the caller asked for it).
    Threads: thread-safe.  Blocks: an append waits for another one at most as long as it is told.
    Fork: the child closes its copies and starts with nothing.
    """

    def __init__(self, place: bool | str, max_bytes: int, name: str) -> None:
        self._place = place
        self._max_bytes = max_bytes
        self._name = name
        self._lock = threading.Lock()  # guards everything below; only readers of numbers go without
        self._files: list[SpillFile] = []  # leftovers first, the own one last
        self._own: SpillFile | None = None
        self._peeked: list[tuple[int, int]] = []  # bytes and end offset of each
        self._closed = False
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
        return sum([file.records for file in list(self._files)])

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

        Args:
            record: The record.
            sync: Whether it must be on the disk when this returns.
            wait: Most seconds to wait for another thread's append; 0 for a nested call.

        Returns:
            False if it could not be: no place, no room on it, an error, or closed.
        """
        if self._place is False or not self._lock.acquire(timeout=wait):
            return False
        try:
            if self._closed:
                return False
            if self._own is None:
                self._own = SpillFile.create(self._new_path())
                self._files.append(self._own)
            if self._own.write_at + len(record.line) > self._max_bytes + _HEADER_SIZE:
                return False
            self._own.append(record, sync=sync)
            self.appended += 1
        except (OSError, portalocker.LockException) as error:
            diagnostics.report(f"spill {self._name}", f"{self._name}: no spill file", error)
            return False
        finally:
            self._lock.release()
        return True

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
        with self._lock:
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
        with self._lock:
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
        with self._lock:
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
        with self._lock:
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
        with self._lock:
            self._closed = True
            for file in self._files:
                file.close()
            return self.records

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
            _private_directory() / f"{self._name.replace(':', '_')}.{unique}.{os.urandom(4).hex()}"
        )


def _private_directory() -> Path:
    user = getattr(os, "getuid", lambda: 0)()
    path = Path(tempfile.gettempdir()) / f"pylog-spill-{user}"
    path.mkdir(mode=0o700, exist_ok=True)
    info = path.lstat()
    # The temporary directory is everybody's: a directory or link that somebody else put there
    # could show our records to them.
    if hasattr(os, "getuid") and (path.is_symlink() or info.st_uid != user or info.st_mode & 0o077):
        msg = f"{path} is not a private directory of this user"
        raise PermissionError(msg)
    return path


def _open(path: Path, flags: int) -> io.FileIO:
    safe = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, os.O_RDWR | flags | safe, 0o600)
    return io.FileIO(descriptor, "r+", closefd=True)


def _lock(file: io.FileIO) -> None:
    portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)


def _read_offset(file: io.FileIO) -> int | None:
    file.seek(0)
    header = file.read(_HEADER_SIZE)
    prefix, digits = header[:_OFFSET_AT], header[_OFFSET_AT:-1]
    if prefix != _HEADER[: len(prefix)] or len(header) != _HEADER_SIZE or not digits.isdigit():
        return None
    return max(int(digits), _HEADER_SIZE)


def _write_all(file: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]


def _sync_directory(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
