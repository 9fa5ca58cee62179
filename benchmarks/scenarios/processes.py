"""N processes on one rolling file: all lines there, and how fast?"""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
from pathlib import Path
from typing import Any

from contestants.shared_file import WHO
from effort import Case, Effort
from measuring import lines_in

TITLE = "Processes on one rolling file"
OURS = ("ours", "ours_queued")
SLOWER = 8  # concurrent-log-handler gets so many times fewer events


def cases(effort: Effort) -> list[Case]:
    """The quick form: four processes."""
    names = ("ours", "concurrent_log_handler") if effort.name == "quick" else WHO
    counts = effort.choose(full=(1, 2, 4, 8), quick=(4,), tiny=(2,))
    return [
        Case.of(
            name,
            processes=count,
            events=effort.events // (SLOWER if name == "concurrent_log_handler" else 1),
        )
        for name in names
        for count in counts
    ]


def _work(contestant: str, path: Path, share: int, warm_up: int, start: Any, ends: Any) -> None:
    subject = WHO[contestant](path)
    for number in range(warm_up):
        subject.emit(number)
    subject.drain()
    start.wait(60)
    began = time.monotonic()
    for number in range(share):
        subject.emit(number)
    subject.drain()
    ends.put((began, time.monotonic()))
    subject.finish()


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """From when the first begins to when the last has everything in the file."""
    if contestant not in OURS and importlib.util.find_spec(contestant) is None:
        # Here, and not in the children: nobody would hear them, and wait for what they count.
        msg = f"No module named {contestant!r}"
        raise ModuleNotFoundError(msg)
    path = directory / "app.jsonl"
    count = options["processes"]
    share = max(options["events"] // count, 1)
    warm_up = max(share // 10, 10)
    context = multiprocessing.get_context("fork")
    start, ends = context.Barrier(count), context.Queue()
    workers = [
        context.Process(target=_work, args=(contestant, path, share, warm_up, start, ends))
        for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    times = [ends.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    seconds = max(end for _, end in times) - min(began for began, _ in times)
    files = [
        file
        for file in directory.iterdir()
        if file.name.startswith("app") and "lock" not in file.name
    ]
    return {
        "per_second": share * count / seconds,
        "done_us": seconds / (share * count) * 1e6,
        "files": len(files),
        "lost": (share + warm_up) * count - lines_in(files),
        "failed": sum(worker.exitcode != 0 for worker in workers),
    }
