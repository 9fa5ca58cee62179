"""Writing to a file descriptor without ever waiting for longer than was agreed.

A blocking ``write(2)`` to a full pipe waits for its reader, perhaps for ever, and ``O_NONBLOCK`` is
no way out: it belongs to the open file, which other processes and ``print()`` share.  So each write
is made non-blocking by itself: pipes and sockets take ``RWF_NOWAIT`` (Linux 6.5), a terminal is
opened a second time, and where neither works a write of at most ``PIPE_BUF`` bytes follows a
``poll`` that promised room for so many (as long as nobody else writes there at the same moment).

Source: pipe(7), pwritev2(2), and own design; see docs/reference/stream.md.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if sys.platform != "win32":  # Windows has no way to ask
    import fcntl
    import termios

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Transmission", "flush_first"]

_CHUNK: Final = 4096  # PIPE_BUF of Linux: such a write is never mixed with that of another process
_NO_NOWAIT: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE}
)
_SPIN: Final = 0.001  # seconds; poll said yes and the write said no: somebody else was faster
# What may sit in Python's own buffers: a BufferedWriter's and, over it, a TextIOWrapper's.
_UNFLUSHED_MAX: Final = io.DEFAULT_BUFFER_SIZE + 8192


class Transmission:
    """One run of bytes on its way into a descriptor.

    Args:
        data: The bytes: lines, each with its newline.

    Attributes:
        sent: How many have been written; right at any moment, also if :meth:`run` was interrupted.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._whole = data
        self.sent = 0

    def run(self, fd: int, mode: int, timeout: float) -> OSError | None:
        """Write to *fd* until all is written, an error, or *timeout* seconds are over.

        Args:
            fd: The descriptor.
            mode: Its ``st_mode``, which the caller has asked for anyway.
            timeout: Seconds.

        Returns:
            None if all is written; ``TimeoutError`` if there was no room in time; else the error.

        Blocks: up to *timeout* for pipes, sockets and terminals; as the system does for files.
        """
        if not hasattr(select, "poll") or not (
            stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)
        ):
            return self._run_file(fd)
        deadline = time.monotonic() + timeout
        if stat.S_ISCHR(mode):
            own = _reopen_terminal(fd)
            if own is not None:
                try:
                    return self._run_bounded(own, os.write, deadline)
                finally:
                    os.close(own)
        elif hasattr(os, "pwritev") and hasattr(os, "RWF_NOWAIT"):
            outcome = self._run_bounded(fd, _write_nowait, deadline)
            if outcome is None or outcome.errno not in _NO_NOWAIT:
                return outcome
        return self._run_bounded(fd, _write_after_poll, deadline)

    def _run_file(self, fd: int) -> OSError | None:
        try:
            while self.sent < len(self._data):
                self.sent += os.write(fd, self._data[self.sent :])
        except OSError as error:
            return error
        return None

    def _run_bounded(
        self, fd: int, write: Callable[[int, Any], int], deadline: float
    ) -> OSError | None:
        refused = 0
        while self.sent < len(self._data):
            try:
                self.sent += write(fd, self._data[self.sent : self._end()])
                refused = 0
            except BlockingIOError:
                refused += 1
                if not _wait(fd, deadline, again=refused > 1):
                    return TimeoutError(errno.ETIMEDOUT, "no room; nobody reads the other end")
            except OSError as error:
                return error
        return None

    def _end(self) -> int:
        """Where the next chunk ends: behind a newline if there is one, so that lines stay whole."""
        limit = self.sent + _CHUNK
        if limit >= len(self._whole):
            return limit
        return self._whole.rfind(b"\n", self.sent, limit) + 1 or limit


def _write_nowait(fd: int, chunk: memoryview) -> int:
    return os.pwritev(fd, [chunk], -1, os.RWF_NOWAIT)


def _write_after_poll(fd: int, chunk: memoryview) -> int:
    if not _writable(fd, 0.0):
        raise BlockingIOError
    return os.write(fd, chunk)


def _writable(fd: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    # An error or a hang-up is reported too: the write then says which.
    return bool(poller.poll(max(seconds, 0.0) * 1000))


def _wait(fd: int, deadline: float, *, again: bool) -> bool:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        return False
    if again:
        time.sleep(min(_SPIN, remaining))
    return _writable(fd, deadline - time.monotonic())


def _reopen_terminal(fd: int) -> int | None:
    """Open the terminal behind *fd* once more, non-blocking for us alone; None if it is none."""
    try:
        flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(os.ttyname(fd), flags)
    except OSError:
        return None


def flush_first(stream: Any, fd: int, mode: int) -> None:
    """Flush what ``print`` left in Python's buffers, if that cannot block, so that the order is kept.

    There is no way to see how much is in there; so into a pipe or socket it is done only if the
    most that may be in there has room.
    """
    try:
        if _has_room(fd, mode):
            stream.flush()
    except Exception:  # a print in progress, or a broken stream: our own write will tell
        return


def _has_room(fd: int, mode: int) -> bool:
    if sys.platform == "win32":
        return True
    if stat.S_ISFIFO(mode):
        size_of = getattr(fcntl, "F_GETPIPE_SZ", None)
        if size_of is None:
            return False
        used = _ask(fd, termios.FIONREAD)
        # A pipe is a ring of pages; in the worst case each is just over half full.
        pages = -(-2 * used // 4096) + 1
        return (fcntl.fcntl(fd, size_of) // 4096 - pages) * 4096 >= _UNFLUSHED_MAX
    if stat.S_ISSOCK(mode):
        return _ask(fd, termios.TIOCOUTQ) == 0
    return not stat.S_ISCHR(mode) or _writable(fd, 0.0)


def _ask(fd: int, request: int) -> int:
    number: int = struct.unpack("i", fcntl.ioctl(fd, request, b"\0\0\0\0"))[0]
    return number
