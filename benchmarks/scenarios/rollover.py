"""What the call that rolls the file over costs, beside so many archives that are there already."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from contestants import Subject
from effort import Case, Effort
from events import Emit, by_extra, by_keywords, text_by_extra, text_by_keywords

TITLE = "The call that rolls over, beside many archives"
ROLL = 20_000  # bytes: about a hundred events


def cases(effort: Effort) -> list[Case]:
    """Not in the quick form."""
    if effort.name == "quick":
        return []
    counts = effort.choose(full=(10, 100, 1000, 10_000), quick=(), tiny=(10,))
    rolls = effort.choose(full=20, quick=0, tiny=2)
    return [
        Case.of(name, archives=count, rolls=rolls)
        for name in ("ours", "stdlib", "loguru")
        for count in counts
    ]


def rounds(effort: Effort) -> int:
    """Making 10,000 files takes long enough."""
    return min(effort.rounds, 3)


Rolled = Callable[[], object]


def _ours(path: Path, archives: int, rolled: Rolled) -> Subject:
    from contestants.ours import subject

    from pylog_struct.sinks import RollingFileSink

    for number in range(1, archives + 1):
        path.with_name(f"app-2020-01-01-00-00-00-{number}.jsonl").write_bytes(b"{}\n")

    def tell(event: Any) -> None:
        if event.kind == "rolled":
            rolled()

    return subject(RollingFileSink(path, max_bytes=ROLL, max_files=archives, on_event=tell))


def _stdlib(path: Path, archives: int, rolled: Rolled) -> Subject:
    from functools import partial
    from logging.handlers import RotatingFileHandler

    from contestants.stdlib import formatter, logger_of

    class Telling(RotatingFileHandler):
        def doRollover(self) -> None:  # noqa: N802 - logging's name
            super().doRollover()
            rolled()

    for number in range(1, archives + 1):
        path.with_name(f"app.jsonl.{number}").write_bytes(b"{}\n")
    handler = Telling(path, maxBytes=ROLL, backupCount=archives)
    handler.setFormatter(formatter())
    logger = logger_of(handler)
    return Subject(by_extra(logger), partial(text_by_extra, logger), handler.close)


def _loguru(path: Path, archives: int, rolled: Rolled) -> Subject:
    from functools import partial

    from loguru import logger

    for number in range(1, archives + 1):
        path.with_name(f"app.2020-01-01_00-00-00_{number:06}.jsonl").write_bytes(b"{}\n")

    def full(message: str, file: Any) -> bool:
        file.seek(0, 2)
        over = file.tell() + len(message) > ROLL
        if over:
            rolled()
        return over

    logger.remove()
    logger.add(path, serialize=True, rotation=full, retention=archives)
    return Subject(by_keywords(logger), partial(text_by_keywords, logger), logger.remove)


BUILD = {"ours": _ours, "stdlib": _stdlib, "loguru": _loguru}
MOST = 2000  # events for one roll-over: far more than fit


def calls(emit: Emit, rolls: int, seen: list[int]) -> tuple[list[int], list[int]]:
    """Nanoseconds of the calls that rolled, and of the others."""
    clock = time.perf_counter_ns
    rolling: list[int] = []
    other: list[int] = []
    for number in range(rolls * MOST):
        before = len(seen)
        started = clock()
        emit(number)
        took = clock() - started
        (rolling if len(seen) > before else other).append(took)
        if len(rolling) >= rolls:
            break
    return rolling, other


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """Make the archives, roll a few times, look at the calls that did it."""
    seen: list[int] = []
    path = directory / "app.jsonl"
    subject = BUILD[contestant](path, options["archives"], lambda: seen.append(1))
    calls(subject.emit, 1, seen)  # warm: the first look at the directory is part of opening
    rolling, other = calls(subject.emit, options["rolls"], seen)
    subject.finish()
    if not rolling:
        raise RuntimeError(f"no roll-over in {len(other)} events")
    return {
        "roll_us": median(rolling) / 1e3,
        "roll_max_us": max(rolling) / 1e3,
        "other_us": median(other) / 1e3,
        "rolls": len(rolling),
        "archives_left": len(list(directory.iterdir())) - 1,
        "lost": 0,
    }
