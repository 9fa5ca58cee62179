"""The lock of a directory: scrapes share it, a fold has it alone.

It is opened anew each time: an inherited lock is not a lock.  Waiting has an end, always.
"""
# paths are text here, as in os.environ
# ruff: noqa: PTH118

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pylog_struct import _flock, diagnostics, fork

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NAME", "locked"]

NAME: Final = "pylog_struct.lock"
"""The file that is locked; empty."""

_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_PAUSE: Final = 0.002  # seconds between two tries


class _Descriptors:
    """Those of this process.  A child that inherits one would keep a killed parent's lock alive."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        while self.open:
            os.close(self.open.pop())


_DESCRIPTORS: Final = _Descriptors()


@contextmanager
def locked(directory: str, *, exclusive: bool, timeout: float) -> Iterator[bool]:
    """Hold the lock of *directory*; the value says whether it could be had in *timeout* seconds."""
    fd = -1
    try:
        # For reading is enough, and works for a worker of another user than the one that made it.
        fd = os.open(os.path.join(directory, NAME), os.O_RDONLY | os.O_CREAT | _CLOEXEC, 0o644)
        _DESCRIPTORS.open.add(fd)
        held = _take(fd, exclusive=exclusive, until=time.monotonic() + timeout)
    except OSError as error:
        diagnostics.report("metrics.lock", f"cannot lock {directory}: nothing is folded", error)
        held = False
    try:
        yield held
    finally:
        if fd in _DESCRIPTORS.open:
            _DESCRIPTORS.open.discard(fd)
            _close(fd, held=held)


def _take(fd: int, *, exclusive: bool, until: float) -> bool:
    while not _flock.lock(fd, exclusive=exclusive):
        if time.monotonic() >= until:
            return False
        time.sleep(_PAUSE)
    return True


def _close(fd: int, *, held: bool) -> None:
    try:
        if held:  # explicitly: the descriptor may have been inherited by a child of another thread
            _flock.unlock(fd)
    finally:
        os.close(fd)
