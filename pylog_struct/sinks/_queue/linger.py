"""How long the worker waits for a fuller batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pylog_struct.sinks._queue.buffer import RecordBuffer
    from pylog_struct.sinks._queue.options import QueueOptions

__all__ = ["Linger"]

_BREATH: Final = 0.001
"""Seconds between two batches while little comes, if nobody asked for a linger: a wake-up for each
record costs the producers more than the record does."""


class Linger:
    """Decides whether to wait: from the first record on for ``linger``, or from the last batch on for a breath.

    So without a linger the first record after a pause goes at once.  A quarter of a full batch ends a
    breath, a full one a linger.

    Threads: the worker's own.
    """

    def __init__(self, options: QueueOptions, buffer: RecordBuffer) -> None:
        self._options = options
        self._buffer = buffer
        self._delivered_at = 0.0
        self._full = min(options.batch_records, options.capacity - options.reserve)
        self.until = 0.0
        """When the wait is over (monotonic); 0 if there is none."""
        self.size = 1
        """Records that end it before."""

    def delivered(self, now: float) -> None:
        """Say that a batch has gone."""
        self._delivered_at = now

    def skip(self) -> None:
        """Let the next record go without a breath."""
        self._delivered_at = 0.0

    def is_over(self, now: float, *, urgent: bool) -> bool:
        """Whether what is in the queue goes now; *urgent*: somebody waits for it."""
        options, buffer = self._options, self._buffer
        self.until, before = 0.0, self.until
        if urgent or buffer.held:
            return True
        if not options.linger:
            until, size = self._delivered_at + _BREATH, max(self._full // 4, 1)
        elif buffer.queued:
            until, size = before or now + options.linger, self._full
        else:
            return True
        if now >= until or buffer.size >= size or buffer.bytes >= options.batch_bytes:
            return True
        self.until, self.size = until, size
        return False
