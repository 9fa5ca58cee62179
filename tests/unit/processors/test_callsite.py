"""Where a log call stands: through both doors, sync and async, from threads and tasks."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import pickle
import queue
import sys
import threading
from pathlib import Path

import pytest
import structlog

import pylog_struct
from pylog_struct.errors import ConfigError
from pylog_struct.processors import Callsite
from pylog_struct.sinks import MemorySink

EVERYTHING = (
    "pathname", "filename", "module", "lineno", "func_name",
    "thread", "thread_name", "process", "process_name", "task_name",
)  # fmt: skip


def configured(*processors, **options):
    sink = MemorySink()
    pylog_struct.configure(sink=sink, format="json", processors=processors, **options)
    return sink


def line():
    """The number of the caller's line."""
    return sys._getframe(1).f_lineno


def here(event):
    return event["filename"], event["lineno"], event["func_name"]


@pytest.mark.parametrize("door", [structlog.get_logger, logging.getLogger])
def test_both_doors_name_the_same_facts(door):
    sink = configured(Callsite(*EVERYTHING))
    log = door("shop")
    log.warning("said")
    number = line() - 1
    [event] = sink.events
    me = threading.current_thread()
    assert {name: event.get(name) for name in EVERYTHING} == {
        "pathname": __file__,
        "filename": "test_callsite.py",
        "module": "test_callsite",
        "lineno": number,
        "func_name": "test_both_doors_name_the_same_facts",
        "thread": me.ident,
        "thread_name": me.name,
        "process": os.getpid(),
        "process_name": "MainProcess",
        "task_name": None,
    }
    assert "_record" not in event


METHODS = ["debug", "info", "msg", "warn", "warning", "error", "critical", "fatal", "exception"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_every_kind_of_logger_names_its_caller(method):
    sink = configured(Callsite(), level="DEBUG")
    lazy = structlog.get_logger("shop")
    bound = lazy.bind(user=1)
    numbers = []
    getattr(lazy, method)("said", exc_info=False)
    numbers.append(line() - 1)
    getattr(bound, method)("said", exc_info=False)
    numbers.append(line() - 1)
    name = test_every_method_of_every_kind_of_logger_names_its_caller.__name__
    expected = [("test_callsite.py", number, name) for number in numbers]
    assert [here(event) for event in sink.events] == expected


@pytest.mark.parametrize("method", ["log", "alog"])
def test_a_level_as_an_argument_changes_nothing(method):
    sink = configured(Callsite())

    async def main():
        result = getattr(structlog.get_logger(), method)(logging.ERROR, "said")
        if result is not None:
            await result
        return line() - 3

    number = asyncio.run(main())
    assert [here(event) for event in sink.events] == [("test_callsite.py", number, "main")]


@pytest.mark.parametrize("awaited", [True, False])
@pytest.mark.parametrize("method", ["ainfo", "awarning", "aerror", "aexception"])
def test_an_async_call_names_its_own_line_and_task(method, awaited):
    sink = configured(Callsite("lineno", "func_name", "task_name", "thread"))

    async def handler():
        pending = getattr(structlog.get_logger(), method)("said", exc_info=False)
        number = line() - 1
        if awaited:
            await pending
        return number

    async def main():
        tasks = [asyncio.create_task(handler(), name=f"task {n}") for n in range(3)]
        return [await task for task in tasks]

    numbers = asyncio.run(main())
    assert len(numbers) == 3
    found = [(e["lineno"], e["func_name"], e["task_name"]) for e in sink.events]
    assert found == [(numbers[0], "handler", f"task {n}") for n in range(3)]
    assert {event["thread"] for event in sink.events} == {threading.get_ident()}


def test_a_stdlib_record_of_a_task_names_it():
    sink = configured(Callsite("task_name"))

    async def main():
        logging.getLogger("lib").warning("said")

    async def outer():
        await asyncio.create_task(main(), name="a task")

    asyncio.run(outer())
    assert [event["task_name"] for event in sink.events] == ["a task"]


def test_a_record_from_another_thread_keeps_its_own():
    """A QueueListener hands it over in a thread of its own."""
    sink = configured(Callsite(*EVERYTHING), stdlib=True)
    lines: queue.SimpleQueue = queue.SimpleQueue()
    source = logging.getLogger("far")
    source.propagate = False
    handler = logging.handlers.QueueHandler(lines)
    source.addHandler(handler)
    try:
        worker = threading.Thread(target=lambda: source.warning("said"), name="far away")
        worker.start()
        worker.join()
        number = line() - 3
        logging.getLogger().handle(lines.get(timeout=10))
    finally:
        source.removeHandler(handler)
        source.propagate = True
    [event] = sink.events
    assert event["thread_name"] == "far away"
    assert event["thread"] != threading.get_ident()
    assert here(event) == ("test_callsite.py", number, "<lambda>")
    assert "task_name" not in event


def test_stacklevel_holds():
    sink = configured(Callsite("func_name"))

    def helper():
        logging.getLogger("lib").warning("said", stacklevel=2)

    helper()
    assert [event["func_name"] for event in sink.events] == ["test_stacklevel_holds"]


def test_helpers_of_the_users_own_are_stepped_over():
    sink = configured(Callsite("func_name", ignore=["shop.logs"]))
    names = {"__name__": "shop.logs.helpers", "log": structlog.get_logger()}
    exec("def helper():\n    log.info('said')", names)
    names["helper"]()
    assert [event["func_name"] for event in sink.events] == [
        "test_helpers_of_the_users_own_are_stepped_over"
    ]


def test_a_name_that_only_begins_like_ours_is_the_callers():
    sink = configured(Callsite("func_name"))
    for module in ("structlog_helpers", "pylog_structure", None, 7):
        names = {"__name__": module, "log": structlog.get_logger()}
        exec("def helper():\n    log.info('said')", names)
        names["helper"]()
    assert [event["func_name"] for event in sink.events] == ["helper"] * 4


def test_a_key_of_the_call_stays():
    sink = configured(Callsite("lineno", "func_name"))
    structlog.get_logger().info("said", lineno="mine")
    logging.getLogger("lib").warning("said", extra={"lineno": "mine"})  # noqa: G101 - the point
    assert [event["lineno"] for event in sink.events] == ["mine", "mine"]
    assert {event["func_name"] for event in sink.events} == {"test_a_key_of_the_call_stays"}


def test_the_users_own_record_key_is_not_taken_away():
    def spy(_logger, _name, event_dict):
        seen.append(type(event_dict.get("_record")).__name__)
        return event_dict

    seen: list[str] = []
    sink = configured(spy)
    structlog.get_logger().info("said", _record=1)
    logging.getLogger("lib").warning("said", extra={"_record": 2})
    logging.getLogger("lib").warning("said")
    assert [event.get("_record") for event in sink.events] == [1, 2, None]
    assert seen == ["int", "int", "LogRecord"]


def test_structlogs_own_adder_sees_the_stdlibs_records():
    adder = structlog.processors.CallsiteParameterAdder(
        {structlog.processors.CallsiteParameter.FUNC_NAME}, additional_ignores=["pylog_struct"]
    )
    sink = configured(adder)
    structlog.get_logger().info("said")
    logging.getLogger("lib").warning("said")
    assert [event["func_name"] for event in sink.events] == [
        "test_structlogs_own_adder_sees_the_stdlibs_records"
    ] * 2


def test_with_no_caller_at_all_it_adds_what_it_can():
    sink = configured(Callsite("lineno", "process", ignore=["__main__"]))
    frame = sys._getframe()
    modules = set()
    while frame is not None:
        modules.add(frame.f_globals["__name__"].partition(".")[0])
        frame = frame.f_back
    sink = configured(Callsite("lineno", "process", ignore=modules))
    structlog.get_logger().info("said")
    [event] = sink.events
    assert event["process"] == os.getpid()
    assert "lineno" not in event


@pytest.mark.parametrize(
    "make",
    [
        lambda: Callsite("line"),
        lambda: Callsite("lineno", 5),
        lambda: Callsite(ignore="shop.logs"),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(ConfigError, match="Callsite"):
        make()


def test_it_can_be_pickled():
    copy = pickle.loads(pickle.dumps(Callsite("lineno", ignore=["shop"])))
    sink = configured(copy)
    structlog.get_logger().info("said")
    [event] = sink.events
    assert event["lineno"] > 0
    assert "filename" not in event
    assert Path(__file__).exists()
