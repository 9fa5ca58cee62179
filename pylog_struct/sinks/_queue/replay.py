"""The way back out of the spill file: read ahead, written once, settled in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pylog_struct import diagnostics
from pylog_struct.ledger import DropReason
from pylog_struct.record import Record

if TYPE_CHECKING:
    from pylog_struct.sinks._queue.buffer import RecordBuffer
    from pylog_struct.sinks._queue.delivery import Attempt
    from pylog_struct.sinks._queue.options import QueueOptions
    from pylog_struct.sinks._queue.spill import Spill

__all__ = ["Replay"]


class Replay:
    """What was read from the spill file of one queue and is not written yet.

    Threads: the worker's.
    """

    __slots__ = ("_buffer", "_name", "_options", "_peeked", "_spill", "held")

    def __init__(
        self, name: str, options: QueueOptions, buffer: RecordBuffer, spill: Spill
    ) -> None:
        self._name = name
        self._options = options
        self._buffer = buffer
        self._spill = spill
        self.held: list[Record] = []
        """Records to be written next."""
        self._peeked = 0  # records that were peeked and are not settled in the spill file

    def fetch(self) -> list[Record]:
        """Return what to write next; nothing if the rest of the file was damaged and given up."""
        if not self.held:
            self.held = self._spill.peek(self._options.batch_records, self._options.batch_bytes)
            self._peeked = len(self.held)
            if not self.held:
                self._lose_damaged()
        return self.held

    def settle(self, attempt: Attempt) -> None:
        """Take note of what became of the records that were fetched."""
        taken, kept, lost, reason = attempt
        if taken or lost:
            self._buffer.settle_elsewhere(taken, lost, reason)
        # The file knows only where the rest begins; what was accepted behind that waits for it.
        if kept == self.held[-len(kept) :] or not kept:
            self._spill.settle(self._peeked - len(kept))
            self._peeked = len(kept)
        self.held = kept

    def _lose_damaged(self) -> None:
        number = self._spill.give_up()
        unknown = Record(self._options.guarantee_level, b"")  # its level was in the damaged part
        self._buffer.settle_elsewhere((), [unknown] * number, DropReason.UNAVAILABLE)
        diagnostics.report(
            f"queue.spill {self._name}",
            f"{self._name}: {number} record(s) of a damaged spill file are lost",
            always=True,
        )
