"""Memory while the output is dead and the application goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from effort import Case, Effort
from events import by_extra, by_keywords
from measuring import resident_bytes

TITLE = "Memory during an outage of the output"
POINTS = 20


def cases(effort: Effort) -> list[Case]:
    """Not in the quick form."""
    if effort.name == "quick":
        return []
    events = effort.choose(full=1_000_000, quick=0, tiny=1000)
    return [Case.of("ours_queued", events=events), Case.of("stdlib_queued", events=events // 4)]


def rounds(_effort: Effort) -> int:
    """Once is enough."""
    return 1


class DeadSink:
    """Refuses everything until the end; then it takes what is still there."""

    def __init__(self) -> None:
        self.dead = True
        self.written = 0

    def write(self, batch: Sequence[Any], /) -> None:
        """Fail, or count."""
        from pylog_struct import SinkUnavailableError

        if self.dead:
            raise SinkUnavailableError("the output is dead", unwritten=batch)
        self.written += len(batch)

    def flush(self, timeout: float | None = None) -> None:
        """Nothing waits here."""

    def close(self, timeout: float | None = None) -> None:
        """Nothing is open."""


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Log into the dead output, read resident memory, revive it, and count."""
    return (_ours if contestant == "ours_queued" else _stdlib)(options["events"], directory)


def _points(emit: Any, events: int) -> dict[str, Any]:
    points = [[0, resident_bytes() / 1e6]]
    started = time.perf_counter()
    done = 0
    for point in range(1, POINTS + 1):
        upto = events * point // POINTS
        for number in range(done, upto):
            emit(number)
        done = upto
        points.append([done, resident_bytes() / 1e6])
    return {
        "call_us": (time.perf_counter() - started) / events * 1e6,
        "first_mb": points[0][1],
        "growth_mb": points[-1][1] - points[0][1],
        "points": points,
        "events": events,
    }


def _ours(events: int, _directory: Path) -> dict[str, Any]:
    from contestants.ours import CAPACITY

    import pylog_struct
    from pylog_struct.sinks import QueueSink

    sink = DeadSink()
    queue = QueueSink(sink, capacity=CAPACITY, policy="discard", gap_notice=False, retry_max=0.1)
    pylog_struct.configure(format="json", sink=queue)
    result = _points(by_keywords(pylog_struct.get_logger().bind()), events)
    sink.dead = False
    pylog_struct.shutdown(timeout=30.0)
    count = pylog_struct.statistics()["queue"]
    # Dropping is what was asked for; "lost" is what is in no counter and not in the output.
    return result | {
        "dropped": count.dropped,
        "written": sink.written,
        "lost": events - count.dropped - sink.written,
    }


def _stdlib(events: int, _directory: Path) -> dict[str, Any]:
    import logging
    import queue
    from logging.handlers import QueueHandler, QueueListener

    alive = threading.Event()
    written = 0

    class DeadHandler(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            nonlocal written
            alive.wait()
            written += 1

    waiting: queue.Queue[logging.LogRecord] = queue.Queue(-1)
    listener = QueueListener(waiting, DeadHandler())
    logger = logging.getLogger("contest")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(QueueHandler(waiting))
    listener.start()
    result = _points(by_extra(logger), events)
    alive.set()
    listener.stop()
    return result | {"dropped": 0, "written": written, "lost": events - written}
