"""Lets through what is wanted, and counts the rest as dropped on purpose."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pylog_struct import diagnostics
from pylog_struct.errors import ConfigError
from pylog_struct.ledger import DropReason
from pylog_struct.levels import parse_level
from pylog_struct.sinks._refusals import attempt, marks
from pylog_struct.sinks.base import BaseSink, adopt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["FilterSink"]


class FilterSink(BaseSink):
    """Passes on the records that satisfy every condition given.

    Accepted means: accepted by the inner sink, or dropped here on purpose (reason ``filtered``).

    Args:
        sink: The inner sink; owned, and closed with this one.
        predicate: Gets the record and says whether to keep it.  One that raises keeps the record,
            and is reported on the diagnostics channel.  ``record.level`` costs nothing;
            ``record.fields`` decodes the line, once per record.
        min_level: Least level passed on, a name or number; None sets no bound.
        max_level: Highest level passed on, a name or number; None sets no bound.
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: no condition at all, bounds that nothing can satisfy, *sink* is no sink or
            *predicate* not callable.

    Threads: one caller at a time.  Blocks: as long as the predicate and the inner sink.
    """

    type_name = "filter"

    def __init__(
        self,
        sink: Sink,
        predicate: Callable[[Record], bool] | None = None,
        *,
        min_level: int | str | None = None,
        max_level: int | str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, children=(adopt(sink, "FilterSink.sink"),))
        if predicate is None and min_level is None and max_level is None:
            msg = "FilterSink: nothing to filter by; give a predicate, min_level or max_level"
            raise ConfigError(msg)
        if predicate is not None and not callable(predicate):
            msg = (
                f"FilterSink.predicate: {predicate!r} is not callable;"
                " use a function that gets a record and returns whether to keep it"
            )
            raise ConfigError(msg)
        low = None if min_level is None else parse_level(min_level, "FilterSink.min_level")
        high = None if max_level is None else parse_level(max_level, "FilterSink.max_level")
        if low is not None and high is not None and low > high:
            msg = (
                f"FilterSink.max_level: {max_level!r} is below min_level {min_level!r},"
                " so that nothing would pass; use a level at or above it"
            )
            raise ConfigError(msg)
        self._predicate = predicate
        self._low = low
        self._high = high

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        self._require_open(batch)
        kept: list[Record] = []
        dropped: list[Record] = []
        for record in batch:
            (kept if self._wants(record) else dropped).append(record)
        if dropped:
            self.ledger.refused(dropped, DropReason.FILTERED)
        if not kept:
            return
        started = time.perf_counter()
        error = attempt(self.children[0], kept)
        seconds = time.perf_counter() - started
        if error is None:
            self.ledger.passed(kept, seconds=seconds)
            return
        self.ledger.failed(error, seconds=seconds)
        missing = marks(kept, error.unwritten)
        self.ledger.passed([record for record, one in zip(kept, missing, strict=True) if not one])
        raise error

    def _wants(self, record: Record) -> bool:
        if self._low is not None and record.level < self._low:
            return False
        if self._high is not None and record.level > self._high:
            return False
        if self._predicate is None:
            return True
        try:
            return bool(self._predicate(record))
        except Exception as error:
            text = f"{self.name}: the predicate failed; the record is let through"
            diagnostics.report(f"filter {self.name}", text, error)
            return True
