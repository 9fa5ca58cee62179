"""Sinks that misbehave on command, for the tests of the queue."""

from __future__ import annotations

import threading
from random import Random

from pylog_struct.errors import SinkRejectedError, SinkUnavailableError
from pylog_struct.record import Record
from pylog_struct.sinks.memory import MemorySink

PATIENCE = 20.0


def record(text, level=20, created=0.0):
    return Record(level, text if isinstance(text, bytes) else str(text).encode(), created)


def texts(sink):
    """The lines that arrived, without notices of the queue itself."""
    return [line.decode() for line in sink.lines if b"log.gap" not in line]


class GatedSink(MemorySink):
    """Stands in ``write`` until the gate opens; ``entered`` tells that it does."""

    def __init__(self, *, shut=True, name=None):
        super().__init__(name=name)
        self.gate = threading.Event()
        self.entered = threading.Event()
        if not shut:
            self.gate.set()

    def _write(self, batch):
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        super()._write(batch)


class FailingSink(MemorySink):
    """Fails as long as ``failing``; takes the first ``accepts`` of each batch even then."""

    def __init__(self, *, failing=True, accepts=0, error=SinkUnavailableError):
        super().__init__()
        self.failing = failing
        self.accepts = accepts
        self.error = error
        self.attempts = 0
        self.tried = threading.Event()

    def _write(self, batch):
        self.attempts += 1
        if not self.failing:
            super()._write(batch)
            self.tried.set()
            return
        super()._write(batch[: self.accepts])
        self.tried.set()
        if batch[self.accepts :]:
            raise self.error("down", batch[self.accepts :])


class PoisonedSink(MemorySink):
    """Refuses for good every record whose line contains ``poison``."""

    def _write(self, batch):
        bad = [item for item in batch if b"poison" in item.line]
        super()._write([item for item in batch if b"poison" not in item.line])
        if bad:
            raise SinkRejectedError("no such document", bad)


class FlakySink(MemorySink):
    """Counts what it takes; fails, takes a part, or refuses, as a seeded die says."""

    def __init__(self, seed):
        super().__init__(capacity=1)
        self.random = Random(seed)
        self.taken = 0

    def _write(self, batch):
        die = self.random.random()
        if die < 0.70:
            self.taken += len(batch)
            return
        cut = self.random.randrange(len(batch))
        self.taken += cut
        if die < 0.80:
            raise SinkUnavailableError("part", batch[cut:])
        if die < 0.85:
            raise SinkRejectedError("refused", batch[cut:])
        if die < 0.90:
            self.taken -= cut
            raise OSError("none")
        # Scattered: an arbitrary half is not taken.
        self.taken -= cut
        left = [item for item in batch if self.random.random() < 0.5]
        self.taken += len(batch) - len(left)
        raise SinkUnavailableError("scattered", left)
