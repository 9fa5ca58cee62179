"""Somebody waits for a flush: what the worker and the waiting thread share."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pylog_struct.errors import SinkClosedError, SinkError
from pylog_struct.sinks.base import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.sinks._queue.buffer import RecordBuffer, Ticket
    from pylog_struct.sinks._queue.delivery import Delivery
    from pylog_struct.sinks._queue.spill import Spill
    from pylog_struct.sinks.base import Deadline

__all__ = ["FlushRequest", "FlushRequests"]


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


class FlushRequests:
    """Those who wait for one queue; true while there are any.

    Threads: thread-safe; :meth:`flush` and :meth:`finish` belong to the worker.
    """

    __slots__ = ("_buffer", "_delivery", "_name", "_open", "_spill")

    def __init__(self, name: str, buffer: RecordBuffer, spill: Spill, delivery: Delivery) -> None:
        self._name = name
        self._buffer = buffer
        self._spill = spill
        self._delivery = delivery
        self._open: list[FlushRequest] = []  # guarded by the buffer's lock

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, deadline: Deadline) -> FlushRequest:
        """Ask for everything that is here now."""
        with self._buffer.lock:
            request = FlushRequest(self._buffer.draw(), self._spill.appended, deadline)
            self._open.append(request)
        return request

    def cancel(self, request: FlushRequest) -> None:
        """Forget *request*."""
        with self._buffer.lock:
            self._buffer.give_back(request.ticket)
            if request in self._open:
                self._open.remove(request)

    def ready(self) -> list[FlushRequest]:
        """Those for whom nothing is left to write."""
        with self._buffer.lock:
            return [
                request
                for request in self._open
                if request.ticket.left <= 0 and self._spill.settled >= request.spilled
            ]

    def flush(self, ready: Sequence[FlushRequest]) -> Exception | None:
        """Flush the inner sink for them; return what it failed with."""
        error: Exception | None = None
        waits = [left for request in ready if (left := request.deadline.remaining()) is not None]
        timeout = max(waits) if len(waits) == len(ready) else None
        try:
            with self._delivery.lock:
                self._delivery.inner.flush(timeout)
        except SinkError as problem:
            error = problem
        except Exception as problem:
            error = translate(problem, (), self._name)
        if error is not None:
            self._buffer.ledger.failed(error)
        return error

    def finish(self, ready: Sequence[FlushRequest], error: Exception | None) -> None:
        """Tell them how it went."""
        for request in ready:
            request.finish(error)
            self.cancel(request)

    def refuse(self) -> None:
        """Tell all of them that the queue was closed."""
        for request in list(self._open):
            request.finish(SinkClosedError(f"{self._name} was closed while flushing"))
            self.cancel(request)
