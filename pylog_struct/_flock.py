"""Locks on whole files: flock(2), and portalocker where the system has no such thing.

On POSIX portalocker calls nothing but flock(2) either; importing it, with the clients that it
knows, would take longer than everything here.
"""

from __future__ import annotations

import errno
import sys

__all__ = ["lock", "unlock"]

if sys.platform == "win32":
    import portalocker

    def lock(fd: int, *, exclusive: bool) -> bool:
        """Take the lock of an open file at once; see the other one."""
        flags = portalocker.LockFlags.EXCLUSIVE if exclusive else portalocker.LockFlags.SHARED
        try:
            portalocker.lock(fd, flags | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.AlreadyLocked:
            return False
        except portalocker.LockException as error:
            raise OSError(errno.ENOLCK, str(error)) from error
        return True

    def unlock(fd: int) -> None:
        """Give the lock back."""
        try:
            portalocker.unlock(fd)
        except portalocker.LockException as error:
            raise OSError(errno.ENOLCK, str(error)) from error

else:
    import fcntl

    def lock(fd: int, *, exclusive: bool) -> bool:
        """Take the lock of an open file at once, replacing the other kind if that is held.

        Returns:
            False if somebody else has it.

        Raises:
            OSError: the file system has no locks.
        """
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            raise
        return True

    def unlock(fd: int) -> None:
        """Give the lock back.

        Raises:
            OSError: it could not be done.
        """
        fcntl.flock(fd, fcntl.LOCK_UN)
