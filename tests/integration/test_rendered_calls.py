"""Values, times and exceptions as they arrive through ``configure`` and a log call."""

from __future__ import annotations

import datetime as dt
import logging
import re
import threading

import pytest
import structlog
from support.events import memory_pipeline, only_the_bridge
from support.payloads import strict_loads
from support.queue_sinks import GatedSink

import pylog_struct
from pylog_struct.sinks import QueueSink

PATIENCE = 30.0
LONG = 2**63 - 1  # the largest number of an Elasticsearch ``long``


def chain(length):
    """Causes that were never raised."""
    error = KeyError("root cause")
    for number in range(1, length):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    return error


def runaway():
    def down(number):
        down(number + 1)

    try:
        down(0)
    except RecursionError as error:
        return error


MONSTERS = {
    "runaway recursion": runaway,
    "a chain of 2,000 causes": lambda: chain(2000),
    "a group of 10,000": lambda: ExceptionGroup("g", [ValueError(n) for n in range(10_000)]),
    "a message of a megabyte": lambda: ValueError("m" * 1_000_000),
    "notes of a megabyte": lambda: noted(ValueError("n"), 50),
}


def noted(error, count):
    for _ in range(count):
        error.add_note("n" * 20_000)
    return error


@pytest.mark.parametrize("name", MONSTERS)
@pytest.mark.parametrize("door", ["structlog", "stdlib"])
def test_a_monstrous_exception_is_a_bounded_line_with_both_forms(door, name):
    sink = memory_pipeline()
    only_the_bridge()
    log = structlog.get_logger() if door == "structlog" else logging.getLogger("x")
    error = MONSTERS[name]()
    try:
        raise error
    except Exception:
        log.exception("failed")

    (line,) = sink.lines
    assert len(line) < 160_000
    event = strict_loads(line)
    shown = event["exception"]
    assert isinstance(shown["stack"], str)  # one text …
    assert isinstance(shown["frames"], list)  # … and data
    assert "truncated" in line.decode() or "more" in shown["message"]
    if name == "a chain of 2,000 causes":
        assert '"root cause"' in line.decode() or "'root cause'" in line.decode()


def test_a_cause_that_was_never_raised_is_in_the_line():
    sink = memory_pipeline()
    try:
        raise ValueError("outer") from KeyError("cause")
    except ValueError:
        structlog.get_logger().exception("failed")

    assert sink.events[0]["exception"]["cause"]["type"] == "KeyError"
    assert "KeyError: 'cause'" in sink.events[0]["exception"]["stack"]


def test_times_have_one_width_are_those_of_the_call_and_never_go_back_in_a_thread():
    sink = GatedSink()
    pylog_struct.configure(sink=QueueSink(sink, capacity=10_000), format="json")
    before = dt.datetime.now(dt.UTC)

    def work(number):
        log = structlog.get_logger()
        for index in range(500):
            log.info("x", thread=number, index=index)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    called = dt.datetime.now(dt.UTC)
    threading.Event().wait(0.05)
    sink.gate.set()  # only now is anything written
    assert pylog_struct.flush(PATIENCE)

    shape = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
    texts = {number: [] for number in range(4)}
    for event in sink.events:
        assert shape.fullmatch(event["timestamp"])
        texts[event["thread"]].append(event["timestamp"])
    for of_one in texts.values():
        assert len(of_one) == 500
        assert of_one == sorted(of_one)
        assert before - dt.timedelta(seconds=1) <= dt.datetime.fromisoformat(of_one[0])
        assert dt.datetime.fromisoformat(of_one[-1]) <= called


def test_naive_times_are_marked_by_having_no_zone():
    sink = memory_pipeline()
    moment = dt.datetime(2024, 2, 29, 12, 34, 56)

    structlog.get_logger().info("x", naive=moment, aware=moment.replace(tzinfo=dt.UTC))

    event = sink.events[0]
    assert (event["naive"], event["aware"]) == (
        "2024-02-29T12:34:56.000000",
        "2024-02-29T12:34:56.000000Z",
    )


@pytest.mark.parametrize("door", ["structlog", "stdlib"])
@pytest.mark.parametrize(
    "value",
    [0, LONG, -LONG - 1, LONG + 1, 2**64 - 1, 2**64, -LONG - 2, 10**30, -(10**30), 10**5000],
    ids=lambda value: f"{value.bit_length()} bits{' negative' if value < 0 else ''}",
)
def test_an_integer_is_a_number_up_to_64_bits_and_text_beyond(door, value):
    sink = memory_pipeline()
    only_the_bridge()
    if door == "structlog":
        structlog.get_logger().info("x", value=value, other=1)
    else:
        logging.getLogger("x").info("x", extra={"value": value, "other": 1})

    event = strict_loads(sink.lines[0])
    shown = event["value"]
    assert event["other"] == 1
    if -(2**63) <= value < 2**64:
        assert shown == value
        assert type(shown) is int
    else:
        assert type(shown) is str
        assert int(shown, 0) == value


def test_a_surrogate_anywhere_in_a_call_is_utf_8_in_the_line():
    sink = memory_pipeline()
    only_the_bridge()
    bad = "a\ud800b"
    for log in (structlog.get_logger(bad), logging.getLogger(bad)):
        try:
            raise ValueError(bad)
        except ValueError:
            if isinstance(log, logging.Logger):
                log.exception(bad, extra={bad: bad})
            else:
                log.exception(bad, **{bad: bad})

    assert len(sink.lines) == 2
    for line in sink.lines:
        event = strict_loads(line)
        shown = "a\\ud800b"
        assert (event["event"], event["logger"], event[shown]) == (shown, shown, shown)
        assert event["exception"]["message"] == shown
