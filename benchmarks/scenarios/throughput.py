"""One thread, flat out: what the caller pays for an event, and what until all are in the file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS
from effort import Case, Effort
from measuring import lines_in

TITLE = "One thread, flat out"
CORE = (
    "bare",
    "bare_unbuffered",
    "structlog",
    "ours",
    "ours_queued",
    "picologging",
    "picologging_queued",
    "loguru_queued",
)


def cases(effort: Effort) -> list[Case]:
    """All contestants; the quick form leaves out those that no row of the table needs."""
    names = CORE if effort.name == "quick" else CONTESTANTS
    return [Case.of(name, events=effort.events // CONTESTANTS[name].slow) for name in names]


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """Warm up, wait until that is in the file, then log *events* and wait again."""
    path = directory / "app.jsonl"
    events = options["events"]
    warm_up = max(events // 10, 10)
    subject = CONTESTANTS[contestant].build(path)
    emit = subject.emit
    for number in range(warm_up):
        emit(number)
    subject.drain()
    cpu = time.process_time()
    started = time.perf_counter()
    for number in range(events):
        emit(number)
    called = time.perf_counter()
    subject.drain()
    done = time.perf_counter()
    cpu = time.process_time() - cpu
    there = lines_in([path])  # before the end: what drain() promised
    subject.finish()
    return {
        "call_us": (called - started) / events * 1e6,
        "done_us": (done - started) / events * 1e6,
        "cpu_us": cpu / events * 1e6,
        "per_second": events / (done - started),
        "late": events + warm_up - there,
        "lost": events + warm_up - lines_in([path]),
        "line_bytes": path.stat().st_size / max(lines_in([path]), 1),
    }
