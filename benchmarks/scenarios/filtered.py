"""``log.debug(...)`` while the level is INFO: what does it cost to log nothing?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from contestants import CONTESTANTS
from effort import Case, Effort
from measuring import lines_in

TITLE = "Calls below the level"
STRETCHES = 50


def cases(effort: Effort) -> list[Case]:
    """Ours and structlog's; the full form adds others."""
    names = ("structlog", "ours")
    if effort.name != "quick":
        names = (*names, "picologging", "stdlib", "logbook", "loguru")
    calls = effort.choose(full=1_000_000, quick=300_000, tiny=1000)
    return [Case.of(name, calls=calls // CONTESTANTS[name].slow) for name in names]


def empty(_logger: Any, calls: int) -> None:
    """The loop alone."""
    for number in range(calls):
        number  # noqa: B018 - what the others read


def plain(logger: Any, calls: int) -> None:
    """A text and nothing else."""
    for _number in range(calls):
        logger.debug("order placed")


def keywords(logger: Any, calls: int) -> None:
    """The fields as keywords: they are made for each call, whoever uses them."""
    for number in range(calls):
        logger.debug(
            "order placed",
            order_id=number,
            customer="c-1042",
            route="/orders/{id}",
            status=201,
            duration_ms=12.5,
            cached=False,
            items=["a1", "b2", "c3"],
        )


def extra(logger: Any, calls: int) -> None:
    """The same under ``extra``."""
    for number in range(calls):
        logger.debug(
            "order placed",
            extra={
                "order_id": number,
                "customer": "c-1042",
                "route": "/orders/{id}",
                "status": 201,
                "duration_ms": 12.5,
                "cached": False,
                "items": ["a1", "b2", "c3"],
            },
        )


def nanoseconds(loops: dict[str, Callable[[Any, int], None]], logger: Any, calls: int) -> Any:
    """Time of one turn of each loop: the medians of short stretches, all loops in turn.

    A stretch that another process interrupted then counts for one loop, once, and not for its result.
    """
    share = max(calls // STRETCHES, 1)
    found: dict[str, list[float]] = {name: [] for name in loops}
    clock = time.perf_counter_ns
    for _ in range(STRETCHES):
        for name, loop in loops.items():
            started = clock()
            loop(logger, share)
            found[name].append((clock() - started) / share)
    return {name: median(values) for name, values in found.items()}


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """Loops in a function of their own, less the time of an empty one."""
    path = directory / "app.jsonl"
    subject = CONTESTANTS[contestant].build(path)
    by = keywords if contestant.startswith(("ours", "structlog", "loguru")) else extra
    loops = {"empty": empty, "plain": plain, "fields": by}
    nanoseconds(loops, subject.logger, options["calls"] // 10)
    found = nanoseconds(loops, subject.logger, options["calls"])
    subject.finish()
    return {
        "plain_ns": found["plain"] - found["empty"],
        "fields_ns": found["fields"] - found["empty"],
        "loop_ns": found["empty"],
        "lost": -lines_in([path]),
    }
