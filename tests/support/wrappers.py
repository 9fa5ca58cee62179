"""Records, an inner sink that refuses what a test tells it to, and what all wrappers must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
import pytest

from pylog_struct.errors import (
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkUnavailableError,
)
from pylog_struct.levels import INFO
from pylog_struct.record import Record
from pylog_struct.sinks.base import BaseSink

Refusal = tuple[Callable[[int], bool], bool]
"""Which positions of a batch are refused, and whether for good."""


def record(text: object = "x", level: int = INFO, **fields: object) -> Record:
    return Record(level, orjson.dumps({"event": str(text), **fields}))


def records(number: int, level: int = INFO, first: int = 0, **fields: object) -> list[Record]:
    return [record(first + position, level, **fields) for position in range(number)]


def names(batch: Sequence[Record]) -> list[str]:
    return [item.fields["event"] for item in batch]


class PickySink(BaseSink):
    """Refuses what the next entry of its plan says, any part of a batch, for now or for good."""

    type_name = "picky"

    def __init__(self, plan: Sequence[Refusal | None] = (), *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.plan = list(plan)
        self.records: list[Record] = []
        self.batches: list[tuple[Record, ...]] = []
        self.offered: list[tuple[Record, ...]] = []
        self.rejected: list[Record] = []

    def _write(self, batch):
        self.offered.append(tuple(batch))
        refusal = self.plan.pop(0) if self.plan else None
        refused = () if refusal is None else [r for i, r in enumerate(batch) if refusal[0](i)]
        for_good = refusal is not None and refusal[1]
        taken = [r for i, r in enumerate(batch) if refusal is None or not refusal[0](i)]
        self.records += taken
        self.batches.append(tuple(taken))
        if for_good:
            self.rejected += refused
        if refused:
            raise (SinkRejectedError if for_good else SinkUnavailableError)("picky", refused)


class CopyingSink:
    """A sink of somebody else's that rebuilds the records that it refuses."""

    def __init__(self) -> None:
        self.fail = True
        self.records: list[Record] = []

    def write(self, batch, /):
        if self.fail:
            raise SinkUnavailableError("later", [Record(*item) for item in batch])
        self.records += batch

    def flush(self, timeout=None):
        pass

    def close(self, timeout=None):
        pass


class WatchedSink(BaseSink):
    """Counts its flushes, closes and polls, and fails in those that it is told to."""

    type_name = "watched"

    def __init__(self, *fails: str, wait: float | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.fails = fails
        self.wait = wait
        self.calls: list[str] = []
        self.timeouts: list[float | None] = []
        self.records: list[Record] = []

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call in self.fails:
            raise SinkUnavailableError(f"{call} failed")

    def _write(self, batch):
        self.records += batch

    def _flush(self, timeout):
        self.timeouts.append(timeout)
        self._note("flush")

    def _close(self, timeout):
        self.timeouts.append(timeout)
        self._note("close")

    def poll(self, now):
        self._note("poll")
        return self.wait


def check_life_cycle(make: Callable[[BaseSink], BaseSink], batch: Sequence[Record]) -> None:
    """Close twice, write after close, the child closed although it fails, the ledger balanced."""
    child = WatchedSink("close")
    sink = make(child)
    with pytest.raises(SinkUnavailableError, match="close failed"):
        sink.close(3.0)
    sink.close(3.0)
    assert child.calls.count("close") == 1
    assert child.timeouts[-1] is not None
    assert child.timeouts[-1] <= 3.0
    with pytest.raises(SinkClosedError) as caught:
        sink.write(batch)
    assert caught.value.unwritten == tuple(batch)
    assert sink.statistics().balanced
    assert sink.statistics().received == 0
    assert child.records == []


def write_all(sink: BaseSink, batch: Sequence[Record], *, tries: int = 100) -> list[Record]:
    """Write as a good caller does, and return what was rejected."""
    rest: Sequence[Record] = batch
    rejected: list[Record] = []
    for _ in range(tries):
        try:
            sink.write(rest)
        except SinkError as error:
            assert sink.statistics().balanced
            if not error.retryable:
                return [*rejected, *error.unwritten]
            rest = error.unwritten
        else:
            return rejected
    raise AssertionError("no end of retries")
