"""Sinks that keep or forget: for tests and measurements."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from pylog_struct.sinks._checks import check_count
from pylog_struct.sinks.base import BaseSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.record import Record

__all__ = ["MemorySink", "NullSink"]


class MemorySink(BaseSink):
    """Keeps records in a list.

    Accepted means: in this process's memory.

    Args:
        capacity: Most records kept; the oldest is forgotten then (it stays *written* in the
            ledger).  None, the default, keeps all.
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: *capacity* is not a positive number.

    Threads: one writer at a time.  Blocks: never.  Fork: the child starts empty.
    """

    type_name = "memory"

    def __init__(self, *, capacity: int | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        if capacity is not None:
            check_count(capacity, "MemorySink.capacity")
        self._records: deque[Record] = deque(maxlen=capacity)

    @property
    def records(self) -> list[Record]:
        """The records kept, oldest first; a copy."""
        return list(self._records)

    @property
    def lines(self) -> list[bytes]:
        """Their lines."""
        return [record.line for record in list(self._records)]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Their lines decoded."""
        return [dict(record.fields) for record in list(self._records)]

    def clear(self) -> None:
        """Forget what is kept; the ledger stays."""
        self._records.clear()

    def _write(self, batch: Sequence[Record]) -> None:
        self._records.extend(batch)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._records.clear()


class NullSink(BaseSink):
    """Accepts everything and forgets it: the zero of a measurement.

    Args:
        name: The sink's name in metrics and statistics.

    Threads: any number.  Blocks: never.
    """

    type_name = "null"

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name=name)

    def _write(self, batch: Sequence[Record]) -> None:
        pass
