"""The file being written: one ``write(2)`` a batch, and what it takes to keep lines whole.

With ``O_APPEND`` the kernel puts every write at the end of the file, whole, whoever else writes.
Two things can still leave a piece of a line behind: a process killed inside a large write, and a
disk that is full.  The next line would be glued to the piece.  Alone, a writer ends the piece with
a newline before it writes.  Among others it cannot look and write in one step, so it looks
afterwards: if its first line landed behind something that was no newline, it writes that line again.
"""

from __future__ import annotations

import os
import stat
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from pylog_struct.record import Record
from pylog_struct.sinks._rolling.files import Ownership, open_or_create
from pylog_struct.sinks._rolling.locks import OpenFile

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["ActiveFile"]

_line_of: Final = itemgetter(1)
_write, _seek = os.write, os.lseek  # a look-up less

_SHARED_WAIT: Final = 0.25  # seconds; others hold the exclusive lock for an instant only


class ActiveFile:
    """An open log file, locked shared for as long as it is open.

    Attributes:
        path: The path it was opened by.
        target: The same without symbolic links: what is renamed.
        end: Bytes in the file after the last look or write.
        regular: Whether it can be rolled at all: no device, pipe or socket.
        alone: Whether nobody else had it open when we opened it.
        status: Of the file, when it was opened.
    """

    def __init__(self, path: str, ownership: Ownership, *, parents: bool) -> None:
        self.path = path
        self.target = os.path.realpath(path)
        self._file = OpenFile(open_or_create(self.target, ownership, parents=parents), self.target)
        try:
            self.status = os.fstat(self._file.fd)
            self.regular = stat.S_ISREG(self.status.st_mode)
            self.alone = False
            self._torn = False
            self._suspect = False
            self.end = 0
            if self.regular:
                self._repair()
        except BaseException:
            self._file.close()
            raise

    @property
    def inode(self) -> int:
        """The file's number."""
        return self.status.st_ino

    def look(self) -> os.stat_result:
        """Ask the system about the open file."""
        return os.fstat(self._file.fd)

    def names_its_path(self) -> bool:
        """Whether the path still leads to this file."""
        return self._file.names_its_path()

    def is_intact(self) -> bool:
        """Whether the descriptor is still ours: somebody may have closed it, or all there are."""
        return self._file.is_intact()

    def sync(self) -> None:
        """Make what was written durable."""
        getattr(os, "fdatasync", os.fsync)(self._file.fd)

    def append(self, batch: Sequence[Record]) -> int:
        """Write the lines of *batch* at the end; return how many are whole in the file.

        Fewer than all: the rest did not fit; the next call says why.

        Raises:
            OSError: nothing of *batch* is in the file.
        """
        if self._torn:
            self._repair()
        lines = [*map(_line_of, batch), b""]
        data = b"\n".join(lines)
        written = os.write(self._file.fd, data)
        if not self.regular:
            return len(batch) if written == len(data) else _whole(batch, written)
        return self._account(batch, written, short=written != len(data))

    def append_line(self, line: bytes) -> bool:
        """Do the same for one line; False if it is not in the file, or something comes first."""
        if self._torn or self._suspect:
            return False
        fd = self._file.fd
        data = line + b"\n"
        written = _write(fd, data)
        end = _seek(fd, 0, 1)
        if end - written == self.end and written == len(data):
            self.end = end
            return True
        return self._account((Record(0, line),), written, short=written != len(data)) == 1

    def _account(self, batch: Sequence[Record], written: int, *, short: bool) -> int:
        """Look at where the *written* bytes of *batch* came to stand; see :meth:`append`."""
        self._torn = short
        if self._advance(written):
            # Our first line is the tail of somebody's piece: readable only if it comes once more.
            again = b"" if short else batch[0][1] + b"\n"
            copied = os.write(self._file.fd, again)
            self._advance(copied)
            if short or copied != len(again):
                # A torn line and a full disk at once: the batch may appear twice, never not at all.
                self._torn = True
                return 0
        return _whole(batch, written) if short else len(batch)

    def close(self) -> None:
        """Unlock and close; idempotent."""
        self._file.close()

    def lock_alone(self) -> bool:
        """Take the exclusive lock if nobody else has the file open; else hold the shared one again."""
        if self._file.lock(exclusive=True):
            return True
        self.lock_shared()
        return False

    def lock_shared(self) -> None:
        """Hold the lock that keeps others from compressing or deleting the file."""
        self._file.lock(exclusive=False, timeout=_SHARED_WAIT)

    def _advance(self, written: int) -> bool:
        """Account for *written* bytes; whether they landed behind an unfinished line."""
        end = os.lseek(self._file.fd, 0, os.SEEK_CUR)
        start = end - written
        look = self._suspect or start != self.end  # somebody else wrote in between
        self.end = end
        self._suspect = False
        if not look or start <= 0 or not hasattr(os, "pread"):
            return False
        return os.pread(self._file.fd, 1, start - 1) != b"\n"

    def _repair(self) -> None:
        """End an unfinished line at the end of the file, if nobody else may be writing it."""
        self.alone = self.lock_alone()
        try:
            self.end = os.fstat(self._file.fd).st_size
            self._torn = False
            self._suspect = not self.alone
            if self._suspect or not self.end:
                return
            os.lseek(self._file.fd, self.end - 1, os.SEEK_SET)
            if os.read(self._file.fd, 1) != b"\n":
                self._torn = True
                self.end += os.write(self._file.fd, b"\n")
                self._torn = False
        finally:
            if self.alone:
                self.lock_shared()


def _whole(batch: Sequence[Record], written: int) -> int:
    """How many records of *batch* are whole in its first *written* bytes; a newline may be missing."""
    whole = 0
    for record in batch:
        written -= len(record[1])
        if written < 0:
            break
        whole += 1
        written -= 1
    return whole
