"""The table "to reach": a row is a ratio of two medians of one run, with what it has to be.

No row makes the benchmark fail: a time says something about a machine, too.  What fails it is a
benchmark that did not run, and a contestant of ours that lost lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from results import Results

Measured = Callable[[Results], float | None]


def quotient(above: float | None, below: float | None) -> float | None:
    """The ratio, or None when one side is missing, or nothing that was measured right (not above 0)."""
    return None if above is None or below is None or min(above, below) <= 0 else above / below


def _worse(*ratios: float | None) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return max(known) if known else None


def _done(above: str, below: str) -> Measured:
    """How many times as many events a second *above* gets into its file."""
    return lambda results: quotient(
        results.value("throughput", below, "done_us"), results.value("throughput", above, "done_us")
    )


def _threads(contestant: str) -> Measured:
    return lambda results: quotient(
        results.value("threads", contestant, "per_second", threads=8),
        results.value("threads", contestant, "per_second", threads=1),
    )


def _all_features(contestant: str) -> Measured:
    return lambda results: quotient(
        results.value("features", contestant, "done_us", feature="all"),
        results.value("features", contestant, "done_us", feature="plain"),
    )


def _stall(results: Results) -> float | None:
    return quotient(
        results.value("paced", "ours_queued", "stalled_p99.9"),
        results.value("paced", "ours_queued", "calm_p99.9"),
    )


def _call(results: Results) -> float | None:
    return quotient(
        results.value("latency", "ours_queued", "p50"), results.value("latency", "bare", "p50")
    )


def _filtered(key: str) -> Measured:
    return lambda results: quotient(
        results.value("filtered", "ours", key), results.value("filtered", "structlog", key)
    )


def _imports(results: Results) -> float | None:
    return quotient(
        results.value("imports", "ours", "milliseconds"),
        results.value("imports", "dependencies", "milliseconds"),
    )


def _processes(results: Results) -> float | None:
    return quotient(
        results.value("processes", "ours", "per_second", processes=4),
        results.value("processes", "concurrent_log_handler", "per_second", processes=4),
    )


def _growth(results: Results) -> float | None:
    found = results.value("memory", "ours_queued", "growth_mb")
    return None if found is None else max(found, 0.0)


@dataclass(frozen=True)
class Target:
    """One row: more is better with ``more``, else less is."""

    text: str
    least: float
    aim: float
    measured: Measured
    more: bool = True
    unit: str = " ×"
    digits: int = 2

    def judge(self, value: float | None) -> str:
        """``aim``, ``pass``, ``FAIL``, or ``not measured``."""
        if value is None:
            return "not measured"
        if self._reaches(value, self.aim):
            return "aim"
        return "pass" if self._reaches(value, self.least) else "FAIL"

    def _reaches(self, value: float, limit: float) -> bool:
        value = round(value, self.digits)  # what is printed is what is judged
        return value >= limit if self.more else value <= limit

    def show(self, value: float | None) -> str:
        """A measured value."""
        return "–" if value is None else f"{value:.{self.digits}f}{self.unit}"

    def limit(self, value: float) -> str:
        """A limit: with the direction."""
        return f"{'≥' if self.more else '≤'} {value:g}{self.unit}"


TARGETS = (
    Target(
        "synchronous rolling file, events/s, to structlog's fast set-up",
        1.6,
        2.5,
        _done("ours", "structlog"),
    ),
    Target("the same, to picologging + orjson to a file", 0.9, 1.3, _done("ours", "picologging")),
    Target(
        "queued, end to end to the file, to the bare buffered loop",
        0.28,
        0.45,
        _done("ours_queued", "bare"),
    ),
    Target(
        "queued, end to end, to picologging behind a queue",
        1.1,
        1.6,
        _done("ours_queued", "picologging_queued"),
    ),
    Target("queued, caller's p50, to the bare loop's p50", 2.6, 1.8, _call, more=False),
    Target(
        "queued, caller's p99.9 at 5k/s while the sink stalls 50 ms, to the same without stall",
        1.5,
        1.1,
        _stall,
        more=False,
    ),
    Target(
        "queued, end to end, to loguru enqueue",
        25,
        40,
        _done("ours_queued", "loguru_queued"),
        digits=1,
    ),
    Target("8 threads, queued, total throughput to one thread", 0.8, 0.95, _threads("ours_queued")),
    Target("8 threads, synchronous, total throughput to one thread", 0.8, 0.95, _threads("ours")),
    Target(
        "filtered-out call with eight fields, to structlog's own",
        1.0,
        0.7,
        _filtered("fields_ns"),
        more=False,
    ),
    Target(
        "filtered-out call with a text only, to structlog's own",
        1.0,
        0.7,
        _filtered("plain_ns"),
        more=False,
    ),
    Target(
        "contextvars, ten bound keys and callsite on, to the plain event (the worse of both modes)",
        1.5,
        1.25,
        lambda results: _worse(
            _all_features("ours")(results), _all_features("ours_queued")(results)
        ),
        more=False,
    ),
    Target(
        "import pylog_struct, to importing structlog, orjson and prometheus-client",
        1.4,
        1.15,
        _imports,
        more=False,
    ),
    Target(
        "4 processes on one rolling file, events/s, to concurrent-log-handler",
        5,
        10,
        _processes,
        digits=1,
    ),
    Target(
        "resident memory growth over {events} events",
        2,
        0,
        _growth,
        more=False,
        unit=" MB",
        digits=0,  # kilobytes come and go with the pages of the allocator
    ),
)


def power(number: float | None) -> str:
    """10⁷ for 10,000,000; other numbers with commas."""
    if not number:
        return "10⁷"
    text = f"{int(number):,}"
    zeros = len(str(int(number))) - 1
    return (
        f"10{str(zeros).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
        if int(number) == 10**zeros
        else text
    )


def table(results: Results) -> list[dict[str, Any]]:
    """All rows, measured and judged."""
    events = results.option("memory", "ours_queued", "events")
    rows = []
    for target in TARGETS:
        value = target.measured(results)
        rows.append(
            {
                "row": target.text.format(events=power(events)),
                "value": value,
                "measured": target.show(value),
                "least": target.limit(target.least),
                "aim": target.limit(target.aim),
                "verdict": target.judge(value),
            }
        )
    return rows
