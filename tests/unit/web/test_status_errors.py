"""The last errors: every one is seen while somebody wants them, and nothing is touched while nobody does."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.events import memory_pipeline

import pylog_struct
from pylog_struct._compiled import SPEED
from pylog_struct.bound_logger import BoundLogger
from pylog_struct.pipeline import Pipeline
from pylog_struct.sinks import QueueSink
from pylog_struct.web._status.errors import LINE, RECORDS, Errors, group

log = pylog_struct.get_logger("errors.test")


@pytest.fixture(name="errors")
def _errors():
    errors = Errors()
    errors.use()
    yield errors
    while errors._users:
        errors.leave()


def events(errors):
    return [found.event for found in group(errors.newest(), 1000)]


@pytest.mark.parametrize("queue", [False, True], ids=["direct", "queue"])
def test_every_way_to_log_an_error_is_seen(errors, queue):
    sink = memory_pipeline(**({"queue_size": 1000} if queue else {}))
    bound = log.bind(order=7)
    log.error("plain")
    bound.critical("bound")
    log.fatal("fatal")
    log.log(45, "numbered")
    logging.getLogger("errors.stdlib").error("from the %s", "stdlib")
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("raised")

    async def awaited():
        await log.aerror("awaited")

    asyncio.run(awaited())
    log.warning("no error")
    log.info("no error either")
    pylog_struct.flush()
    assert events(errors) == [
        "awaited", "raised", "from the stdlib", "numbered", "fatal", "bound", "plain",
    ]  # fmt: skip
    assert len(sink.events) == 9  # and all of them, and the others, arrived


def test_lines_are_as_the_sinks_get_them(errors):
    sink = memory_pipeline()
    log.error("one", password="hidden by a processor")
    assert errors.newest()[0][1] == sink.lines[0]


def test_it_survives_another_configuration(errors):
    memory_pipeline()
    log.error("first")
    memory_pipeline()
    log.error("second")
    assert events(errors) == ["second", "first"]


def test_it_is_bounded_in_records_and_in_bytes(errors):
    memory_pipeline()
    for number in range(2 * RECORDS):
        log.error("x" * 20_000, number=number)
    found = errors.newest()
    assert len(found) == RECORDS
    assert max(len(line) for _, line, _ in found) == LINE


def test_with_the_last_user_everything_is_as_it_was():
    before = {name: getattr(BoundLogger, name) for name in ("error", "critical", "fatal", "info")}
    deliver = Pipeline.deliver
    errors = Errors()
    errors.use()
    errors.use()
    memory_pipeline()
    errors.leave()
    log.error("seen")
    assert events(errors) == ["seen"]
    if SPEED is not None:  # in Python, each configuration makes methods of its own
        assert BoundLogger.info is before["info"]  # below error nothing changes
    assert BoundLogger.error is not before["error"]
    errors.leave()
    log.error("not seen")
    assert errors.newest() == []
    assert Pipeline.deliver is deliver
    if SPEED is not None:
        assert {name: getattr(BoundLogger, name) for name in before} == before


def test_errors_take_the_lane_again_after_the_last_user():
    """What a call costs is what it did: seen by whether the pipeline's own step is taken."""
    errors = Errors()
    errors.use()
    errors.leave()
    sink = memory_pipeline()
    seen = []
    pipeline = pylog_struct.active.ACTIVE.pipeline
    emit = pipeline.emit
    pipeline.emit = lambda *args: (seen.append(args), emit(*args))
    log.error("plain")
    assert [event["event"] for event in sink.events] == ["plain"]
    assert not seen


def test_an_error_that_finds_no_room_is_seen_all_the_same(errors):
    from support.queue_sinks import GatedSink

    gated = GatedSink()
    pylog_struct.configure(
        sink=QueueSink(gated, capacity=1, spill=False, guarantee_timeout=0), shutdown_timeout=1
    )
    log.info("waits")
    assert gated.entered.wait(20)
    log.error("finds no room")
    assert events(errors) == ["finds no room"]
    gated.gate.set()


def test_errors_that_say_the_same_are_one_group():
    line = b'{"event":"down","logger":"a","n":%d}'
    records = [(40, line % 3, 30.0), (40, b'{"event":"up"}', 25.0), (40, line % 1, 20.0)]
    first, second = group(records, 10)
    assert (first.event, first.logger, first.level, first.number, first.at) == (
        "down", "a", "error", 2, 30.0,
    )  # fmt: skip
    assert first.line == '{"event":"down","logger":"a","n":3}'  # the last one
    assert (second.event, second.number) == ("up", 1)
    assert len(group(records, 1)) == 1


@pytest.mark.parametrize(
    ("line", "event", "logger"),
    [
        (b'{"message":"ecs","log":{"level":"error","logger":"app.db"}}', "ecs", "app.db"),
        (b'{"message":"ecs","log.logger":"app.db"}', "ecs", "app.db"),
        (b'{"event":7,"logger":null,"log":3}', "7", ""),
        (b'{"a":1}', "(no text)", ""),
        (b"[1]", "[1]", ""),
        (b"no json \xff", "no json \ufffd", ""),
        (b'{"event":"cut', '{"event":"cut', ""),
        (b"", "", ""),
    ],
)
def test_lines_of_every_format_say_what_happened(line, event, logger):
    (found,) = group([(50, line, 0.0)], 5)
    assert (found.event, found.logger, found.level) == (event, logger, "critical")


def test_a_child_starts_with_none(errors):
    memory_pipeline()
    log.error("the parent's")
    errors._after_fork_in_child()
    assert errors.newest() == []
    log.error("the child's")
    assert events(errors) == ["the child's"]
