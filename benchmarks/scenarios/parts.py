"""What the pieces of an event cost alone: the floor under every logger in this interpreter."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from effort import Case, Effort

TITLE = "The pieces of an event, each alone"
LABELS = {
    "call": "calling an empty function",
    "call_keywords": "calling a method with eight keywords that it takes as `**fields`",
    "dict": "a dict display with ten keys",
    "copy_10": "copying a dict of ten keys",
    "time": "`time.time()`",
    "iso": "`datetime.now(UTC).isoformat()`",
    "dumps": "`orjson.dumps` of the event, time as a number",
    "context": "`get_contextvars()` of structlog with three variables bound",
    "frame": "`sys._getframe()` and three names from it",
    "lock": "taking and releasing a free lock",
    "append": "`deque.append` and `popleft`",
    "buffered": "`file.write` of the line, buffered",
    "os_write": "`os.write` of the line",
    "os_write_64": "`os.write` of 64 lines at once, for one line",
}
STRETCHES = 20
LINES = 64  # what a queue's worker may find when it looks


def cases(effort: Effort) -> list[Case]:
    """Not in the quick form."""
    if effort.name == "quick":
        return []
    times = effort.choose(full=200_000, quick=0, tiny=500)
    return [Case.of(name, times=times) for name in LABELS]


def _event(number: int = 7) -> dict[str, Any]:
    return {
        "timestamp": 1_700_000_000.123456,
        "level": "info",
        "event": "order placed",
        "order_id": number,
        "customer": "c-1042",
        "route": "/orders/{id}",
        "status": 201,
        "duration_ms": 12.5,
        "cached": False,
        "items": ["a1", "b2", "c3"],
    }


class _Takes:
    def info(self, event: str, **fields: Any) -> None:
        """Take them."""


def _keywords() -> Callable[[], object]:
    logger = _Takes()
    return lambda: logger.info(
        "order placed",
        order_id=7,
        customer="c-1042",
        route="/orders/{id}",
        status=201,
        duration_ms=12.5,
        cached=False,
        items=["a1", "b2", "c3"],
    )


def _copy() -> Callable[[], object]:
    return _event().copy


def _iso() -> Callable[[], object]:
    now = datetime.now
    return lambda: now(UTC).isoformat()


def _dumps() -> Callable[[], object]:
    import orjson

    dumps, event, line = orjson.dumps, _event(), orjson.OPT_APPEND_NEWLINE
    return lambda: dumps(event, option=line)


def _context() -> Callable[[], object]:
    from structlog.contextvars import bind_contextvars, get_contextvars

    bind_contextvars(request_id="3f6c2d1e", user_id=4711, tenant="north")
    return get_contextvars


def _frame() -> Callable[[], object]:
    import sys

    get = sys._getframe

    def look() -> tuple[str, int, str]:
        frame = get(1)
        return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name

    return look


def _lock() -> Callable[[], object]:
    lock = threading.Lock()

    def turn() -> None:
        with lock:
            pass

    return turn


def _append() -> Callable[[], object]:
    waiting: deque[int] = deque()

    def turn() -> None:
        waiting.append(7)
        waiting.popleft()

    return turn


def _writer(path: Path, lines: int, *, buffered: bool) -> Callable[[], object]:
    import orjson

    data = orjson.dumps(_event(), option=orjson.OPT_APPEND_NEWLINE) * lines
    if buffered:
        file = path.open("wb")
        return lambda: file.write(data)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    return lambda: os.write(descriptor, data)


def piece(name: str, path: Path) -> tuple[Callable[[], object], int]:
    """The function to time, and by how many events one call of it is shared."""
    simple: dict[str, Callable[[], Callable[[], object]]] = {
        "call": lambda: lambda: None,
        "call_keywords": _keywords,
        "dict": lambda: _event,
        "copy_10": _copy,
        "time": lambda: time.time,
        "iso": _iso,
        "dumps": _dumps,
        "context": _context,
        "frame": _frame,
        "lock": _lock,
        "append": _append,
        "buffered": lambda: _writer(path, 1, buffered=True),
        "os_write": lambda: _writer(path, 1, buffered=False),
    }
    if name == "os_write_64":
        return _writer(path, LINES, buffered=False), LINES
    return simple[name](), 1


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """A loop of calls, less the same loop with nothing in it: the median of some stretches."""
    run, share = piece(contestant, directory / "app.jsonl")
    times = max(options["times"] // share // STRETCHES, 1)
    clock = time.perf_counter_ns
    found = []
    for _ in range(STRETCHES + 1):
        started = clock()
        for _ in range(times):
            run()
        middle = clock()
        for _ in range(times):
            pass
        found.append((middle - started) - (clock() - middle))
    return {"nanoseconds": max(median(found[1:]), 0.0) / times / share, "lost": 0}
