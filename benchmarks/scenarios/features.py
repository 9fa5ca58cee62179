"""What each feature adds to the plain event, one by one, ours and structlog's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS, Subject
from effort import Case, Effort
from events import Emit, by_keywords
from measuring import lines_in

TITLE = "Cost of each feature"
CORE = ("plain", "all")
FEATURES = (
    "plain",
    "contextvars",
    "bound_10",
    "bound_50",
    "callsite",
    "exception",
    "ecs",
    "processor",
    "scraped",
    "all",
)
LABELS = {
    "plain": "plain event",
    "contextvars": "3 context variables",
    "bound_10": "10 bound keys",
    "bound_50": "50 bound keys",
    "callsite": "callsite",
    "exception": "an exception of 4 frames",
    "ecs": "an ECS document",
    "processor": "a processor of one's own",
    "scraped": "metrics read 10 times a second",
    "all": "context variables, 10 bound keys, callsite",
}
OURS = ("ours", "ours_queued")
ONLY_OURS = ("ecs", "scraped")


def cases(effort: Effort) -> list[Case]:
    """The quick form: what the table needs."""
    events = effort.events
    if effort.name == "quick":
        return [Case.of(name, feature=feature, events=events) for name in OURS for feature in CORE]
    found = [Case.of(name, feature=what, events=events) for name in OURS for what in FEATURES]
    others = [what for what in FEATURES if what not in ONLY_OURS]
    return [*found, *(Case.of("structlog", feature=what, events=events) for what in others)]


def keys(count: int) -> dict[str, str]:
    """Keys to bind, with values of twelve characters."""
    return {f"key_{number:02}": f"value-{number:06}" for number in range(count)}


def callsite_of(contestant: str) -> list[Any]:
    """The processor that adds file, line and function."""
    if contestant in OURS:
        from pylog_struct.processors import Callsite

        return [Callsite()]
    from structlog.processors import CallsiteParameter, CallsiteParameterAdder

    wanted = (CallsiteParameter.FILENAME, CallsiteParameter.LINENO, CallsiteParameter.FUNC_NAME)
    return [CallsiteParameterAdder(wanted)]


def of_ones_own(_logger: Any, _method_name: str, event_dict: Any) -> Any:
    """A processor that does next to nothing: what counts is that the event has to take that way."""
    event_dict["region"] = "eu-west"
    return event_dict


def build(contestant: str, path: Path, processors: list[Any], **options: Any) -> Subject:
    """The contestant with more processors; *options* are those of ours."""
    if contestant in OURS:
        from contestants.ours import queue, rolling, subject

        sink = rolling(path)
        outer = queue(sink) if contestant == "ours_queued" else sink
        return subject(outer, processors=processors, **options)
    import structlog

    made = CONTESTANTS[contestant].build(path)
    if processors:
        chain = structlog.get_config()["processors"]
        structlog.configure(processors=[*chain[:-1], *processors, chain[-1]])
        made.logger = structlog.get_logger().bind()
    return made


def failing(depth: int) -> BaseException:
    """An exception with a traceback of that many frames."""

    def go(left: int) -> None:
        if left:
            go(left - 1)
        raise TimeoutError("no answer within 2 s")

    try:
        go(depth - 2)
    except TimeoutError as error:
        return error
    raise AssertionError


def with_exception(logger: Any) -> Emit:
    """An event with a traceback."""
    error = failing(4)
    return lambda number: logger.info("order failed", order_id=number, exc_info=error)


@contextmanager
def scraping(*, on: bool) -> Any:
    """Read all metrics ten times a second from another thread, as a busy Prometheus might."""
    if not on:
        yield
        return
    from prometheus_client import REGISTRY, generate_latest

    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(0.1):
            generate_latest(REGISTRY)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """One feature, or several together."""
    import structlog

    path = directory / "app.jsonl"
    feature, events = options["feature"], options["events"]
    if feature == "exception":
        events = max(events // 10, 1)
    processors = callsite_of(contestant) if feature in ("callsite", "all") else []
    if feature == "processor":
        processors = [of_ones_own]
    options = {"format": "ecs", "service": "shop"} if feature == "ecs" else {}
    subject = build(contestant, path, processors, **options)
    logger = subject.logger
    if feature in ("bound_10", "bound_50", "all"):
        logger = logger.bind(**keys(50 if feature == "bound_50" else 10))
    if feature in ("contextvars", "all"):
        structlog.contextvars.bind_contextvars(request_id="3f6c2d1e", user_id=4711, tenant="north")
    make: Callable[[Any], Emit] = with_exception if feature == "exception" else by_keywords
    emit = make(logger)
    warm_up = max(events // 10, 10)
    for number in range(warm_up):
        emit(number)
    subject.drain()
    with scraping(on=feature == "scraped"):
        started = time.perf_counter()
        for number in range(events):
            emit(number)
        called = time.perf_counter()
        subject.drain()
        done = time.perf_counter()
    subject.finish()
    return {
        "call_us": (called - started) / events * 1e6,
        "done_us": (done - started) / events * 1e6,
        "line_bytes": path.stat().st_size / max(lines_in([path]), 1),
        "lost": events + warm_up - lines_in([path]),
    }
