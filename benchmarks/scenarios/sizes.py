"""Events of 100 bytes to 100 kB: where does the encoder take over?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS
from effort import Case, Effort
from events import SHORT
from measuring import lines_in

TITLE = "Sizes of events"
SIZES = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
WHO = ("bare", "structlog", "ours", "ours_queued", "picologging", "stdlib", "loguru")
WORDS = 'the quick brown fox jumps over the lazy dog and says "no" '
MOST = 100_000_000  # bytes in one run


def cases(effort: Effort) -> list[Case]:
    """Not in the quick form."""
    if effort.name == "quick":
        return []
    sizes = effort.choose(full=SIZES, quick=(), tiny=(100, 1000))
    return [
        Case.of(name, size=size, events=min(effort.events // CONTESTANTS[name].slow, MOST // size))
        for name in WHO
        for size in sizes
    ]


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """One text of about that size in each event."""
    path = directory / "app.jsonl"
    events, size = options["events"], options["size"]
    warm_up = max(events // 10, 10)
    text = (WORDS * (size // len(WORDS) + 1))[: max(size - SHORT, 0)]
    subject = CONTESTANTS[contestant].build(path)
    emit = subject.sized(text)
    for number in range(warm_up):
        emit(number)
    subject.drain()
    started = time.perf_counter()
    for number in range(events):
        emit(number)
    subject.drain()
    done = time.perf_counter() - started
    subject.finish()
    lines = lines_in([path])
    return {
        "done_us": done / events * 1e6,
        "megabytes_per_second": path.stat().st_size / lines * events / done / 1e6,
        "line_bytes": path.stat().st_size / lines,
        "lost": events + warm_up - lines,
    }
