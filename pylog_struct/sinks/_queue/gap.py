"""The sum of a loss, until it can be told in the stream itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pylog_struct.levels import level_label
from pylog_struct.notices import timestamp
from pylog_struct.record import Record

if TYPE_CHECKING:
    from pylog_struct.ledger import DropReason

__all__ = ["Gap", "GapNotice"]


class GapNotice(Record):
    """A ``log.gap`` record: one that no policy evicts, so that the news of a loss is not lost."""


class Gap:
    """How many records were lost since the last notice, why, of which levels, from when to when.

    Args:
        enabled: Whether anybody will ask; otherwise it stays empty.

    Threads: guarded by the lock of the buffer that owns it.  Re-entrant: every method leaves a
    consistent state whenever another call runs in its middle.
    """

    __slots__ = ("_counts", "_enabled", "_first", "_last")

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._counts: dict[tuple[DropReason, int], int] = {}
        self._first = 0.0
        self._last = 0.0

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, reason: DropReason, level: int, moment: float) -> None:
        """Count one lost record; *moment* is Unix time in seconds."""
        if not self._enabled:
            return
        if not self._counts:
            self._first = moment
        self._last = moment
        key = (reason, level)
        try:
            self._counts[key] += 1
        except KeyError:
            self._counts[key] = 1

    def take(self, sink: str) -> dict[str, Any]:
        """Return the fields of the notice and start from zero."""
        counts, first, last = self._counts, self._first, self._last
        self._counts = {}
        levels: dict[str, int] = {}
        reasons: dict[str, int] = {}
        for (reason, level), number in counts.items():
            label = level_label(level)
            levels[label] = levels.get(label, 0) + number
            reasons[reason.value] = reasons.get(reason.value, 0) + number
        return {
            "sink": sink,
            "dropped": sum(counts.values()),
            "levels": levels,
            "reasons": reasons,
            "first": timestamp(first),
            "last": timestamp(last),
        }
