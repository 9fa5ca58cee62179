"""Where an event's microsecond goes: the same call, each time with one stage more.

Thread time in the caller only: what a queue's worker does meanwhile is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from contestants import CONTESTANTS, Subject
from effort import Case, Effort
from events import by_keywords

TITLE = "An event, stage by stage"
LABELS = {
    "function": "the benchmark's own function, with eight keywords to an empty method",
    "filtered": "a method of the logger, below the level",
    "text": "an event with a text only, into the queue",
    "fields": "with seven fields more",
    "leaf": "one of them a `Decimal`",
    "odd": "one of them a set: step by step, by the full sanitiser",
    "file": "without a queue, into a rolling file",
    "os_write": "for comparison: `os.write` of such a line, and nothing else",
}
WHO = ("ours", "ours_pure")
BURST = 500  # events: the queue holds them all
STRETCHES = 40


def cases(effort: Effort) -> list[Case]:
    """Both forms of the hot path; not in the quick form."""
    if effort.name == "quick":
        return []
    times = effort.choose(full=40_000, quick=0, tiny=500)
    return [Case.of(who, stage=stage, times=times) for who in WHO for stage in LABELS]


class _Empty:
    def info(self, event: str, **fields: Any) -> None:
        """Take them."""


def _function(_who: str, _path: Path) -> Subject:
    return Subject(by_keywords(_Empty()), lambda _: lambda _: None, lambda: None)


def _os_write(_who: str, path: Path) -> Subject:
    import os

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    line = b"x" * 210 + b"\n"
    write = os.write
    return Subject(lambda _: write(descriptor, line), lambda _: lambda _: None, lambda: None)


def _file(who: str, path: Path) -> Subject:
    return CONTESTANTS[who].build(path)


def _nothing(_path: Path) -> Any:
    from pylog_struct.sinks import NullSink  # not before the contestant has chosen its form

    return NullSink()


def _queued(who: str, path: Path) -> Subject:
    return CONTESTANTS[who.replace("ours", "ours_queued")].build(path, _nothing)


def _text(who: str, path: Path) -> Subject:
    subject = _queued(who, path)
    info = subject.logger.info
    subject.emit = lambda _: info("order placed")
    return subject


def _with(items: Any) -> Callable[[str, Path], Subject]:
    """An event with *items* in place of the list of three texts."""

    def build(who: str, path: Path) -> Subject:
        subject = _queued(who, path)
        info = subject.logger.info
        subject.emit = lambda number: info(
            "order placed",
            order_id=number,
            customer="c-1042",
            route="/orders/{id}",
            status=201,
            duration_ms=12.5,
            cached=False,
            items=items,
        )
        return subject

    return build


def _filtered(who: str, path: Path) -> Subject:
    subject = _queued(who, path)
    debug = subject.logger.debug
    subject.emit = lambda _: debug("order placed")
    return subject


BUILDERS: dict[str, Callable[[str, Path], Subject]] = {
    "function": _function,
    "filtered": _filtered,
    "text": _text,
    "fields": _queued,
    "leaf": _with(Decimal("12.5")),
    "odd": _with({"a1", "b2", "c3"}),
    "file": _file,
    "os_write": _os_write,
}


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """The median of short stretches; the queue is emptied between two of them."""
    subject = BUILDERS[options["stage"]](contestant, directory / "app.jsonl")
    emit = subject.emit
    bursts = max(options["times"] // BURST // STRETCHES, 1)
    found = []
    for _ in range(STRETCHES + 1):
        spent = 0
        for _ in range(bursts):
            started = time.thread_time_ns()
            for number in range(BURST):
                emit(number)
            spent += time.thread_time_ns() - started
            subject.drain()
        found.append(spent / bursts / BURST)
    subject.finish()
    return {"nanoseconds": median(found[1:]), "lost": 0}
