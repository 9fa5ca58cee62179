"""Resident memory over millions of events, into a file that rolls over and keeps two archives."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from effort import Case, Effort
from measuring import lines_in, resident_bytes

TITLE = "Memory over many events"
POINTS = 20
LIMIT = 900.0  # seconds


def cases(effort: Effort) -> list[Case]:
    """10⁷ events; fewer in the quick form."""
    events = effort.choose(full=10_000_000, quick=300_000, tiny=2000)
    names = ("ours_queued",) if effort.name == "quick" else ("ours_queued", "ours")
    return [Case.of(name, events=events) for name in names]


def rounds(_effort: Effort) -> int:
    """Once is enough: the points are many, and the run is long."""
    return 1


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Read resident memory at twenty points, drained each time.

    Growth counts from the first one, when the queue has been full, buffers have their size, and the
    first files have rolled over.
    """
    from contestants.ours import queue, subject

    from pylog_struct.sinks import RollingFileSink

    path = directory / "app.jsonl"
    events = options["events"]
    sink: Any = RollingFileSink(path, max_bytes=max(events * 20, 100_000), max_files=2)
    made = subject(queue(sink) if contestant == "ours_queued" else sink)
    emit = made.emit
    marks = [events * point // POINTS for point in range(1, POINTS + 1)]
    points: list[list[float]] = []
    started = time.perf_counter()
    done = 0
    for mark in marks:
        for number in range(done, mark):
            emit(number)
        done = mark
        made.drain()
        points.append([done, resident_bytes() / 1e6])
    seconds = time.perf_counter() - started
    import pylog_struct

    statistics = pylog_struct.statistics()
    made.finish()
    written = min(sink.written for sink in statistics.sinks.values())
    return {
        "growth_mb": points[-1][1] - points[0][1],
        "highest_mb": max(megabytes for _, megabytes in points),
        "first_mb": points[0][1],
        "events": events,
        "done_us": seconds / events * 1e6,
        "points": points,
        "files": len(list(directory.iterdir())),
        "lines_kept": lines_in(directory.glob("app*.jsonl")),
        "lost": events - written,
    }
