"""What scenarios share: clocks, percentiles, lines in files, resident memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from events import Emit

POINTS = (1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99)
BLOCK = 1 << 20


def lines_in(paths: Iterable[Path]) -> int:
    """Newlines in these files; one that does not exist has none."""
    found = 0
    for path in paths:
        if not path.exists():
            continue
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                found += block.count(b"\n")
    return found


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The least value that is at or above *percent* of them; *ordered* ascends."""
    index = -(-len(ordered) * percent // 100) - 1
    return ordered[min(max(int(index), 0), len(ordered) - 1)]


def clock_overhead() -> float:
    """What two readings of ``perf_counter_ns`` with nothing between them say, ns (median)."""
    clock = time.perf_counter_ns
    found = []
    for _ in range(5000):
        started = clock()
        found.append(clock() - started)
    return median(found)


def timed_calls(emit: Emit, events: int) -> list[int]:
    """Nanoseconds of each of *events* calls, one after the other."""
    clock = time.perf_counter_ns
    took = [0] * events
    for number in range(events):
        started = clock()
        emit(number)
        took[number] = clock() - started
    return took


def distribution(nanoseconds: Iterable[float], overhead: float) -> dict[str, float]:
    """Percentiles in µs, without the clock's own time."""
    ordered = sorted(nanoseconds)
    return {
        f"p{point:g}": max(percentile(ordered, point) - overhead, 1.0) / 1e3 for point in POINTS
    }


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
