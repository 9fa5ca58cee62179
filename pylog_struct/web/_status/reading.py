"""A look at a tree of sinks that never waits long: what status and health know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct._frozen import frozen
from pylog_struct.ledger import DropReason, SinkStatistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylog_struct.sinks.base import BaseSink

__all__ = ["PATIENCE", "SINKS_MAX", "SinkReading", "read_tree"]

PATIENCE: Final = 0.1
"""Seconds that a look waits for the lock of one ledger: it is held for microseconds, unless a thread
died or was stopped inside."""

SINKS_MAX: Final = 100
"""Sinks of one tree that are looked at."""

_INTENDED: Final = frozenset({
    DropReason.FILTERED.value,
    DropReason.UNROUTED.value,
    DropReason.NOT_TRIGGERED.value,
    DropReason.PROCESSOR.value,
})  # fmt: skip


@frozen
class SinkReading:
    """What one sink looked like at one instant."""

    sink: BaseSink
    name: str
    kind: str
    """Its ``type`` in a configuration."""
    parent: str | None
    """Name of the sink around it; None for the outermost."""
    position: int
    """Which of its parent's sinks it is, from 0."""
    depth: int
    alone: bool
    """Whether every record has to pass it: it has no alternative, and is not one branch of several."""
    statistics: SinkStatistics | None
    """None if its ledger's lock could not be had in time."""
    last_error: tuple[float, str] | None = None
    """When (Unix time) and what."""
    writes: int = 0
    """Calls whose duration was measured."""
    write_seconds: float = 0.0
    """How long they took together."""

    @property
    def lost(self) -> int:
        """Records dropped that nobody wanted dropped."""
        return sum(number for (reason, _), number in self.drops.items() if self.unwanted(reason))

    @property
    def drops(self) -> Mapping[tuple[str, str], int]:
        """Dropped records by (reason, level)."""
        return {} if self.statistics is None else self.statistics.drops

    @property
    def details(self) -> Mapping[str, float]:
        """What only this kind of sink knows."""
        return {} if self.statistics is None else self.statistics.details

    def unwanted(self, reason: str) -> bool:
        """Whether a drop for this *reason* is a loss: a flight recorder forgets on purpose."""
        return reason not in _INTENDED and not (self.kind == "buffer" and reason == "evicted")


def read_tree(root: BaseSink) -> list[SinkReading]:
    """Look at every sink once, outermost first, each above what it wraps.  Never raises.

    Blocks: up to ``PATIENCE`` for each sink.
    """
    found: list[SinkReading] = []
    seen: set[int] = set()
    stack: list[tuple[BaseSink, str | None, int, int, bool]] = [(root, None, 0, 0, True)]
    while stack and len(found) < SINKS_MAX:
        sink, parent, position, depth, alone = stack.pop()
        if id(sink) in seen:
            continue
        seen.add(id(sink))
        found.append(_read(sink, parent, position, depth, alone=alone))
        children = sink.children
        # A queue's second sink is for dead letters: the first one is still the only way.
        several = len(children) > 1 and sink.type_name != "queue"
        for place, child in reversed(list(enumerate(children))):
            dead_letters = sink.type_name == "queue" and place > 0
            only = alone and not several and not dead_letters
            stack.append((child, sink.name, place, depth + 1, only))
    return found


def _read(
    sink: BaseSink, parent: str | None, position: int, depth: int, *, alone: bool
) -> SinkReading:
    ledger = sink.ledger
    statistics: SinkStatistics | None = None
    last_error: tuple[float, str] | None = None
    writes, total = 0, 0.0
    lock = ledger.lock  # re-entrant: what statistics() does with it does not wait
    if lock.acquire(timeout=PATIENCE):
        try:
            statistics = sink.statistics()
            last_error = ledger.last_error
            writes, total = sum(ledger.write_seconds.counts), ledger.write_seconds.total
        except Exception as error:  # a sink of somebody else's
            diagnostics.report(f"status {sink.name}", f"{sink.name}: no statistics", error)
        finally:
            lock.release()
    return SinkReading(
        sink=sink,
        name=sink.name,
        kind=sink.type_name,
        parent=parent,
        position=position,
        depth=depth,
        alone=alone,
        statistics=statistics,
        last_error=last_error,
        writes=writes,
        write_seconds=total,
    )
