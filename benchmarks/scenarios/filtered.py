"""``log.debug(...)`` while the level is INFO: what does it cost to log nothing?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS
from effort import Case, Effort
from measuring import lines_in

TITLE = "Calls below the level"


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


def nanoseconds(loop: Callable[[Any, int], None], logger: Any, calls: int) -> float:
    """Time of one turn."""
    loop(logger, min(calls, 10_000))
    started = time.perf_counter_ns()
    loop(logger, calls)
    return (time.perf_counter_ns() - started) / calls


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """Loops in a function of their own, less the time of an empty one."""
    path = directory / "app.jsonl"
    calls = options["calls"]
    subject = CONTESTANTS[contestant].build(path)
    loop = nanoseconds(empty, None, calls)
    by = keywords if contestant.startswith(("ours", "structlog", "loguru")) else extra
    result = {
        "plain_ns": nanoseconds(plain, subject.logger, calls) - loop,
        "fields_ns": nanoseconds(by, subject.logger, calls) - loop,
        "loop_ns": loop,
    }
    subject.finish()
    return result | {"lost": -lines_in([path])}
