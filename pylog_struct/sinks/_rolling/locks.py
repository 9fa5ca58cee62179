"""Files with a lock, aware of forks.

A lock of flock(2) belongs to the *open file description*.  A child of a fork shares the
description with its parent: it has no lock of its own, and unlocking would free the parent's.  So
in a child every inherited file is closed without unlocking, and in the process that opened it
every file is unlocked explicitly before it is closed, so that a copy in a child that is slow to
close it keeps nothing locked.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

from pylog_struct import _flock, diagnostics, fork

__all__ = ["OpenFile"]

_PAUSE: Final = 0.001  # seconds between two tries; flock(2) has no wait with a limit


class OpenFile:
    """A file descriptor that knows its path and can be locked; closes itself in a forked child.

    Args:
        fd: The descriptor, owned from here on.
        path: The path that it was opened by.
    """

    __slots__ = ("__weakref__", "_status", "fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self._status = os.fstat(fd)
        fork.register(self)

    def fileno(self) -> int:
        """The descriptor."""
        return self.fd

    def lock(self, *, exclusive: bool, timeout: float = 0.0) -> bool:
        """Take the lock, replacing the other kind if that is held; False if not within *timeout* s.

        Where a shared lock is replaced and the exclusive one cannot be had, neither is held.
        """
        ends = time.monotonic() + timeout
        while True:
            try:
                if _flock.lock(self.fd, exclusive=exclusive):
                    return True
            except OSError as error:
                # A file system without locks: one process can still write, nobody may roll.
                diagnostics.report("rolling.lock", f"cannot lock {self.path!r}", error)
                return False
            if time.monotonic() >= ends:
                return False
            time.sleep(_PAUSE)

    def names_its_path(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            there = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self.fd))

    def is_intact(self) -> bool:
        """Whether the descriptor is still this file, and was not closed by somebody else.

        A daemon closes all that it inherited, and the system gives the number to its next file.
        """
        try:
            return os.path.samestat(self._status, os.fstat(self.fd))
        except OSError:
            return False

    def close(self) -> None:
        """Unlock and close; idempotent.  A descriptor that is not ours any more is left alone."""
        if not self.is_intact():
            self.fd = -1
            return
        # Closing drops the lock as well, unless a child still has a copy.
        with contextlib.suppress(OSError):
            _flock.unlock(self.fd)
        fd, self.fd = self.fd, -1
        os.close(fd)

    def _after_fork_in_child(self) -> None:
        intact = self.is_intact()
        fd, self.fd = self.fd, -1
        if intact:
            os.close(fd)
