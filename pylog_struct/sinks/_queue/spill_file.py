"""One spill file: its format, its lock, and its place.

Format, one file a process and queue: a header line ``pylog-spill 1 <offset>`` (20 digits: where the
first record starts that is not delivered yet), then one line a record::

    <level> <created> <length of the line> <crc32 of the line, hex> <the line>

A line that is cut short, or whose length or checksum is wrong, ends the file: only the tail can be
torn, because records are appended in order.  The file is removed once everything in it is delivered.

Own design; a plain file on purpose, see ``docs/explanation/queue-policies.md``.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from pylog_struct import _flock
from pylog_struct.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HEADER_SIZE", "SpillFile", "private_directory"]

_HEADER: Final = b"pylog-spill 1 %020d\n"
HEADER_SIZE: Final = len(_HEADER % 0)
_OFFSET_AT: Final = HEADER_SIZE - 21


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
            _write_all(file, _HEADER % HEADER_SIZE)
            draft.rename(path)
            _sync_directory(path.parent)
        except BaseException:
            file.close()
            draft.unlink(missing_ok=True)
            raise
        return cls(path, file, HEADER_SIZE, HEADER_SIZE)

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
        except OSError:
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


def private_directory() -> Path:
    """Return the directory for files that no later process takes over; made on first use.

    Raises:
        OSError: it cannot be made, or is not this user's alone.
    """
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
    if not _flock.lock(file.fileno(), exclusive=True):
        raise BlockingIOError(errno.EAGAIN, "another process has the lock")


def _read_offset(file: io.FileIO) -> int | None:
    file.seek(0)
    header = file.read(HEADER_SIZE)
    prefix, digits = header[:_OFFSET_AT], header[_OFFSET_AT:-1]
    if prefix != _HEADER[: len(prefix)] or len(header) != HEADER_SIZE or not digits.isdigit():
        return None
    return max(int(digits), HEADER_SIZE)


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
