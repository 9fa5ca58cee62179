"""Somebody waits for a flush: what the worker and the waiting thread share."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pylog_struct.sinks._queue.buffer import Ticket
    from pylog_struct.sinks.base import Deadline

__all__ = ["FlushRequest"]


class FlushRequest:
    """Somebody waits until everything that is here now has been written and flushed.

    Args:
        ticket: Their place in the queue.
        spilled: The number of records ever spilled, at that moment.
        deadline: How long they wait.
    """

    __slots__ = ("_gate", "deadline", "error", "spilled", "ticket")

    def __init__(self, ticket: Ticket, spilled: int, deadline: Deadline) -> None:
        self.ticket = ticket
        self.spilled = spilled
        self.deadline = deadline
        self.error: Exception | None = None
        self._gate = threading.Lock()
        self._gate.acquire()

    def finish(self, error: Exception | None = None) -> None:
        """Let the waiting thread go on; only the first call counts."""
        if self._gate.locked():
            self.error = error
            with suppress(RuntimeError):  # the worker and close() at the same moment
                self._gate.release()

    def wait(self, seconds: float) -> bool:
        """Return whether it is finished within *seconds*."""
        return self._gate.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))
