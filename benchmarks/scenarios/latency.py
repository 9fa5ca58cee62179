"""What a single call takes, one after the other: the distribution, not the mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contestants import CONTESTANTS
from effort import Case, Effort
from measuring import clock_overhead, distribution, lines_in, timed_calls

TITLE = "Latency of a call, one thread, flat out"


def cases(effort: Effort) -> list[Case]:
    """The quick form: what the table needs."""
    names = ("bare", "ours_queued") if effort.name == "quick" else CONTESTANTS
    return [Case.of(name, events=effort.events // CONTESTANTS[name].slow) for name in names]


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """Time each call by ``perf_counter_ns``; what that takes itself is measured and taken off."""
    path = directory / "app.jsonl"
    events = options["events"]
    warm_up = max(events // 10, 10)
    subject = CONTESTANTS[contestant].build(path)
    timed_calls(subject.emit, warm_up)
    subject.drain()
    overhead = clock_overhead()
    took = timed_calls(subject.emit, events)
    subject.finish()
    return distribution(took, overhead) | {
        "clock_ns": overhead,
        "max": max(took) / 1e3,
        "lost": events + warm_up - lines_in([path]),
    }
