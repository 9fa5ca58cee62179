"""Files with a lock: flock(2) through portalocker, aware of forks.

A lock of this kind belongs to the *open file description*.  A child of a fork shares the
description with its parent: it has no lock of its own, and unlocking would free the parent's.  So
in a child every inherited file is closed without unlocking, and in the process that opened it
every file is unlocked explicitly before it is closed, so that a copy in a child that is slow to
close it keeps nothing locked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import Final

import portalocker

from pylog_struct import diagnostics, fork

__all__ = ["OpenFile"]

_PAUSE: Final = 0.001  # seconds between two tries; flock(2) has no wait with a limit


class OpenFile:
    """A file descriptor that knows its path and can be locked; closes itself in a forked child.

    Args:
        fd: The descriptor, owned from here on.
        path: The path that it was opened by.
    """

    __slots__ = ("__weakref__", "fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        fork.register(self)

    def fileno(self) -> int:
        """The descriptor: what the system, and every version of portalocker, takes for a file."""
        return self.fd

    def lock(self, *, exclusive: bool, timeout: float = 0.0) -> bool:
        """Take the lock, replacing the other kind if that is held; False if not within *timeout* s.

        Where a shared lock is replaced and the exclusive one cannot be had, neither is held.
        """
        flags = portalocker.LockFlags.EXCLUSIVE if exclusive else portalocker.LockFlags.SHARED
        ends = time.monotonic() + timeout
        while True:
            try:
                portalocker.lock(self, flags | portalocker.LockFlags.NON_BLOCKING)
            except (portalocker.LockException, OSError) as error:
                if not _is_taken(error):
                    # A file system without locks: one process can still write, nobody may roll.
                    diagnostics.report("rolling.lock", f"cannot lock {self.path!r}", error)
                    return False
                if time.monotonic() >= ends:
                    return False
                time.sleep(_PAUSE)
            else:
                return True

    def names_its_path(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            there = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self.fd))

    def close(self) -> None:
        """Unlock and close; idempotent."""
        if self.fd < 0:
            return
        # Closing drops the lock as well, unless a child still has a copy.
        with contextlib.suppress(portalocker.LockException, OSError):
            portalocker.unlock(self)
        fd, self.fd = self.fd, -1
        os.close(fd)

    def _after_fork_in_child(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _is_taken(error: Exception) -> bool:
    """Whether somebody else has the lock; older portalockers say so only in the cause."""
    if isinstance(error, portalocker.AlreadyLocked):
        return True
    cause = error.__cause__ or error
    return isinstance(cause, OSError) and cause.errno in {errno.EACCES, errno.EAGAIN}
