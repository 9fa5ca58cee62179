"""File operations that must not go wrong half-way: creation with a mode, moves that replace nothing."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

from pylog_struct import diagnostics
from pylog_struct._frozen import frozen

__all__ = [
    "Ownership",
    "create",
    "fsync_directory",
    "is_file",
    "make_parents",
    "move_exclusive",
    "open_or_create",
    "open_regular",
    "remove_quietly",
]

_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
_NO_HARD_LINKS: Final = {
    errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EINVAL,
}  # fmt: skip


@frozen
class Ownership:
    """Mode, owner and group of every file that a sink makes.

    The mode goes into ``open(2)``, where the umask can only take bits away for an instant, and is
    then set on the descriptor: at no moment may anybody do more with the file than the mode says.
    """

    mode: int = 0o640
    uid: int = -1
    gid: int = -1

    @property
    def directory_mode(self) -> int:
        """The mode of new directories: whoever may read the files may enter."""
        return self.mode | (self.mode & 0o444) >> 2

    def dress(self, fd: int, like: os.stat_result | None = None) -> None:
        """Set mode and owner of a file that this process just made.

        Args:
            fd: The file.
            like: A file whose owner and group to take over where none are configured.
        """
        if hasattr(os, "fchmod"):
            os.fchmod(fd, self.mode)
        if not hasattr(os, "fchown"):
            return
        uid, gid = self.uid, self.gid
        asked = (uid, gid) != (-1, -1)
        if like is not None:
            now = os.fstat(fd)
            uid = like.st_uid if uid < 0 and like.st_uid != now.st_uid else uid
            gid = like.st_gid if gid < 0 and like.st_gid != now.st_gid else gid
        if (uid, gid) == (-1, -1):
            return
        try:
            os.fchown(fd, uid, gid)
        except OSError as error:  # not root: the file is still better than none
            if asked:
                diagnostics.report("rolling.owner", "cannot set the owner of a log file", error)


def make_parents(path: str, ownership: Ownership) -> None:
    """Create the missing directories above *path*."""
    parent = os.path.dirname(path)
    if not parent or os.path.isdir(parent):
        return
    make_parents(parent, ownership)
    with contextlib.suppress(FileExistsError):
        os.mkdir(parent, ownership.directory_mode)
        os.chmod(parent, ownership.directory_mode)  # the umask narrowed it


def create(
    path: str,
    ownership: Ownership,
    like: os.stat_result | None = None,
    *,
    append: bool = True,
) -> int:
    """Create *path* and return its descriptor.

    Raises:
        FileExistsError: there is something of that name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC | (os.O_APPEND if append else 0)
    fd = os.open(path, flags, ownership.mode)
    try:
        ownership.dress(fd, like)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_or_create(path: str, ownership: Ownership, *, parents: bool, append: bool = True) -> int:
    """Open *path* for writing, creating it (and, with *parents*, its directories) if missing."""
    flags = os.O_RDWR | _CLOEXEC | _NONBLOCK | (os.O_APPEND if append else 0)
    for _ in range(10):  # somebody else may create or remove it at the same time
        try:
            # O_NONBLOCK: a named pipe without a reader must not hang us; files do not care.
            return os.open(path, flags)
        except FileNotFoundError:
            if parents:
                make_parents(path, ownership)
        try:
            return create(path, ownership, append=append)
        except FileExistsError:
            continue
    raise FileExistsError(errno.EEXIST, "exists, and cannot be opened", path)


def open_regular(path: str) -> int:
    """Open an existing regular file for reading, never through a symbolic link.

    Raises:
        OSError: missing, a link, or no regular file.
    """
    return os.open(path, os.O_RDONLY | _CLOEXEC | _NOFOLLOW | _NONBLOCK)


def move_exclusive(source: str, target: str) -> None:
    """Give *source* the name *target* instead; whatever has that name already is never replaced.

    A hard link and an unlink: a crash in between leaves both names on one file, which is
    recognised later.  Where there are no hard links, an empty file is created exclusively and
    renamed over; the caller then must hold a lock that keeps others from doing the same.

    Raises:
        FileExistsError: *target* exists.
        OSError: it could not be moved (``EXDEV``: another file system); *source* is as before.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o600))
        try:
            os.replace(source, target)
        except BaseException:
            remove_quietly(target)
            raise
        return
    try:
        os.unlink(source)
    except OSError:
        remove_quietly(target)
        raise


def fsync_directory(path: str) -> None:
    """Make the names in the directory of *path* durable, where the system can do that."""
    try:
        fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | _CLOEXEC)
    except OSError:
        return  # Windows, or a directory that may be searched but not read
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)


def remove_quietly(path: str) -> bool:
    """Remove a file if it is there; whether it was."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def is_file(path: str | None, status: os.stat_result) -> bool:
    """Whether *path* leads to the file that *status* is about."""
    if path is None:
        return False
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False
