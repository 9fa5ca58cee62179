"""Where the worker sleeps: producers look at a number and wake it only when it wants to be woken."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pylog_struct.sinks._queue.buffer import NEVER

if TYPE_CHECKING:
    from pylog_struct.sinks._queue.buffer import RecordBuffer

__all__ = ["Parking"]


class Parking:
    """Puts the worker to sleep until the queue is as full as it says, somebody rings, or time is up.

    The sizes to wake at are in the buffer, set under its lock after a last look at what is there,
    so that no wake-up is lost and a producer pays one comparison.  The bell is a raw lock: unlike
    an ``Event``, a signal handler may ring it in the middle of another ring.

    Threads: :meth:`park`, :meth:`awake` and :meth:`vacate` belong to the worker.
    """

    def __init__(self, buffer: RecordBuffer) -> None:
        self._buffer = buffer
        self._parked = False  # this and the next two: guarded by the buffer's lock
        self._kicked = False
        self._bell = _silent_bell()

    def ring(self) -> bool:
        """Wake the worker, or keep it from falling asleep; whether it was asleep.

        The caller holds the buffer's lock.
        """
        if not self._parked:
            self._kicked = True
            return False
        self._parked = False
        self._buffer.wake_size = self._buffer.wake_bytes = NEVER
        with suppress(RuntimeError):  # a stray exception hit the worker: it is awake
            self._bell.release()
        return True

    def park(self, wake_size: int, wake_bytes: int, seconds: float) -> None:
        """Sleep until the queue holds *wake_size* records or *wake_bytes*, or *seconds* went by."""
        buffer = self._buffer
        with buffer.lock:
            if self._kicked:
                self._kicked = False
                return
            # First the mark, then the look: a producer, who takes no lock, does it the other way round.
            buffer.wake_size, buffer.wake_bytes = wake_size, wake_bytes
            if buffer.size >= wake_size or buffer.bytes >= wake_bytes:
                buffer.wake_size = buffer.wake_bytes = NEVER
                return
            self._parked = True
            bell = self._bell
        rung = bell.acquire(timeout=max(seconds, 0.0))
        with buffer.lock:
            buffer.wake_size = buffer.wake_bytes = NEVER
            self._kicked = False
            if self._parked:
                self._parked = False
            elif not rung:  # between the time-out and the lock
                bell.acquire(blocking=False)

    def awake(self) -> None:
        """Say that the worker is at work: after its start, and after a stray exception."""
        with self._buffer.lock:
            self._parked = False
            self._bell = _silent_bell()
            self._buffer.wake_size = self._buffer.wake_bytes = NEVER

    def vacate(self) -> None:
        """Say that there is no worker (any more): the next record must ring.  Takes no lock."""
        self._parked = False
        self._buffer.wake_size = 1

    def forget(self) -> None:
        """Undo a ring that nobody was there to hear."""
        self._kicked = False


def _silent_bell() -> threading.Lock:
    bell = threading.Lock()
    bell.acquire()
    return bell
