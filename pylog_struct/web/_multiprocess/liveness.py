"""Whether anybody can still change a file: is its process running, does anybody have it open?

A pid alone does not say it: processes of another container, with pids of their own, may share the
directory, and an application may number its processes as it likes.  On Linux the kernel knows who
has a file open, wherever they are: it grants a read lease only on a file that nobody has open for
writing.

Sources: kill(2), fcntl(2) "Leases".
"""
# a descriptor is what is asked about
# ruff: noqa: PTH116

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pylog_struct.web._multiprocess.files import ValueFile

__all__ = ["is_dead", "is_open_elsewhere", "is_running"]

_F_SETSIG: Final = 10  # the fcntl module has a name for it from Python 3.14 on
_NO_LEASES: Final = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS}


def is_dead(file: ValueFile) -> bool:
    """Whether nobody will change *file* any more: it belongs to a pid that is gone and is not open.

    Under a claimed name nobody can open it again, so the kernel's word is enough there: the pid may
    be another process's by now.
    """
    if file.pid is None or (not file.claimed and is_running(file.pid)):
        return False
    try:
        is_open = is_open_elsewhere(file.path)
    except OSError:  # somebody else's, perhaps of a user who may know
        return False
    return not is_running(file.pid) if is_open is None else not is_open


if sys.platform == "win32":  # pragma: no cover - a signal 0 would be one there

    def is_running(_pid: int, /) -> bool:
        """Whether there is such a process: not asked, so nothing is ever folded."""
        return True

else:

    def is_running(pid: int, /) -> bool:
        """Whether there is such a process here; a zombie is one."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):  # of another user; or a number that is no pid
            return True
        return True


if sys.platform == "linux":
    import fcntl

    def is_open_elsewhere(path: str) -> bool | None:
        """Whether somebody has the file open for writing; None where the kernel cannot say.

        Raises:
            OSError: it is not there, or belongs to another user, about whose files it says nothing.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Whoever opens it in this very instant waits until the lease is given back, and we are
            # sent a signal, which must not be the usual one: that would end the process.
            fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return True
            if error.errno in _NO_LEASES:
                return None
            raise
        finally:
            os.close(fd)
        return False

else:  # pragma: no cover - the tests run on Linux

    def is_open_elsewhere(path: str) -> bool | None:
        """Whether somebody has the file open for writing; None where the kernel cannot say."""
        os.stat(path)
        return None
