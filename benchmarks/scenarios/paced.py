"""5,000 events a second into a file that stalls: does the caller notice?

Calm and stalling stretches alternate in one run.  An event that is late because the call before it
took too long has waited since it was due, and that wait is part of its latency; without that, a
caller that is stopped for 50 ms would count as one slow call instead of 250 late ones.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from contestants import CONTESTANTS, Subject
from effort import Case, Effort
from events import Emit
from measuring import clock_overhead, distribution, lines_in
from stalling import Stall, StallingFile, StallingSink

TITLE = "5,000 events a second, a sink that stalls for 50 ms four times a second"
RATE = 5000
STALL = 0.05
EVERY = 0.25
QUEUED = ("ours_queued", "picologging_queued", "structlog_queued", "stdlib_queued", "loguru_queued")


def cases(effort: Effort) -> list[Case]:
    """Everything with a queue, and two without for comparison; the quick form: ours."""
    names = ("ours_queued",) if effort.name == "quick" else ("structlog", "ours", *QUEUED)
    seconds = effort.choose(full=2.0, quick=0.6, tiny=0.1)
    return [Case.of(name, stretches=4, seconds=seconds) for name in names]


def build(contestant: str, path: Path, stall: Stall) -> Subject:
    """The contestant over a file that stalls."""
    if contestant.startswith("ours"):
        from contestants.ours import rolling

        return CONTESTANTS[contestant].build(path, lambda path: StallingSink(rolling(path), stall))
    binary = contestant == "structlog"
    return CONTESTANTS[contestant].build(path, partial(StallingFile, stall=stall, binary=binary))


def oversleep() -> float:
    """By how much a short sleep is too long here, seconds (median)."""
    clock, found = time.perf_counter, []
    for _ in range(100):
        started = clock()
        time.sleep(0.0001)
        found.append(clock() - started - 0.0001)
    return median(found)


def stretch(emit: Emit, events: int, bias: float) -> list[int]:
    """Log *events* at the rate; return ns from when each was due, or could start, to its end."""
    clock = time.perf_counter_ns
    period = 1_000_000_000 // RATE
    early = int(bias * 1e9)
    took = []
    due = clock() + period
    for number in range(events):
        started = clock()
        if started < due:
            time.sleep(max(due - started - early, 0) / 1e9)
            started = clock()
            due = max(due, started)  # a long sleep is the machine's doing, not the logger's
        else:
            started = due
        emit(number)
        took.append(clock() - started)
        due += period
    return took


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """Alternate stretches without and with stalls."""
    path = directory / "app.jsonl"
    stall = Stall(STALL, EVERY)
    subject = build(contestant, path, stall)
    events = int(RATE * options["seconds"])
    bias = oversleep()
    stretch(subject.emit, max(events // 10, 10), bias)
    subject.drain()
    overhead = clock_overhead()
    calm: list[int] = []
    stalled: list[int] = []
    began = time.perf_counter()
    for number in range(options["stretches"]):
        stall.armed = bool(number % 2)
        (stalled if stall.armed else calm).extend(stretch(subject.emit, events, bias))
        subject.drain()
    seconds = time.perf_counter() - began
    stall.armed = False
    subject.finish()
    total = events * options["stretches"] + max(events // 10, 10)
    return (
        {f"calm_{key}": value for key, value in distribution(calm, overhead).items()}
        | {f"stalled_{key}": value for key, value in distribution(stalled, overhead).items()}
        | {
            "calm_max": max(calm) / 1e3,
            "stalled_max": max(stalled) / 1e3,
            "stalls": stall.stalls,
            "per_second": events * options["stretches"] / seconds,
            "clock_ns": overhead,
            "lost": total - lines_in([path]),
        }
    )
