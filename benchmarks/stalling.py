"""A file, and a sink, whose writes stall now and then, as those of a busy disk do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Stall:
    """While armed, one write in *every* seconds takes *seconds* longer."""

    def __init__(self, seconds: float, every: float) -> None:
        self.seconds = seconds
        self.every = every
        self.armed = False
        self.stalls = 0
        self._next = 0.0

    def __call__(self) -> None:
        """Sleep, if it is time for it: sleeping releases the interpreter's lock as a write does."""
        now = time.monotonic()
        if self.armed and now >= self._next:
            self._next = now + self.every
            self.stalls += 1
            time.sleep(self.seconds)


class StallingFile:
    """A file, text or binary, for the contestants that take one."""

    def __init__(self, path: Path, stall: Stall, *, binary: bool) -> None:
        self._file: Any = path.open("wb") if binary else path.open("w", encoding="utf-8")
        self._stall = stall

    def write(self, data: Any) -> int:
        """Stall, perhaps, and write."""
        self._stall()
        return self._file.write(data)

    def flush(self) -> None:
        """As the file does."""
        self._file.flush()

    def close(self) -> None:
        """As the file does."""
        self._file.close()

    def stop(self) -> None:
        """What loguru calls."""
        self._file.close()


class StallingSink:
    """One of our sinks with a stall in front: the contract's three methods and nothing else."""

    def __init__(self, sink: Any, stall: Stall) -> None:
        self._sink = sink
        self._stall = stall

    def write(self, batch: Sequence[Any], /) -> None:
        """Stall, perhaps, and write."""
        self._stall()
        self._sink.write(batch)

    def flush(self, timeout: float | None = None) -> None:
        """As the sink does."""
        self._sink.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """As the sink does."""
        self._sink.close(timeout)
