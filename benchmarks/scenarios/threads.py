"""1, 2, 4, 8 threads, flat out, one logger: does the total stay?"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS
from effort import Case, Effort
from measuring import lines_in

TITLE = "Threads, flat out, one logger"
LIMIT = 20.0  # seconds: some contestants deadlock here
FULL = (
    "structlog",
    "ours",
    "ours_queued",
    "picologging",
    "picologging_queued",
    "stdlib_queued",
    "loguru_queued",
)


def cases(effort: Effort) -> list[Case]:
    """The quick form: ours, with one thread and with eight."""
    quick = effort.name == "quick"
    return [
        Case.of(name, threads=threads, events=effort.events // CONTESTANTS[name].slow)
        for name in (("ours", "ours_queued") if quick else FULL)
        for threads in ((1, 8) if quick else (1, 2, 4, 8))
    ]


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """All threads start at once and share *events*; the end is when all is in the file."""
    path = directory / "app.jsonl"
    threads, share = options["threads"], max(options["events"] // options["threads"], 1)
    subject = CONTESTANTS[contestant].build(path)
    emit = subject.emit
    for number in range(share):
        emit(number)
    subject.drain()
    start = threading.Barrier(threads + 1)

    def work() -> None:
        start.wait()
        for number in range(share):
            emit(number)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    called = time.perf_counter()
    subject.drain()
    done = time.perf_counter()
    subject.finish()
    events = share * threads
    return {
        "call_us": (called - started) / events * 1e6,
        "done_us": (done - started) / events * 1e6,
        "per_second": events / (done - started),
        "lost": events + share - lines_in([path]),
    }
