"""The stdlib's door: the same events, rendered once, and nothing raises."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.handlers
import queue
import random
import re
import sys
import threading
import warnings
from types import SimpleNamespace

import pytest
import structlog
from support.events import memory_pipeline, only_the_bridge, without

import pylog_struct
from pylog_struct.sinks import MemorySink, QueueSink
from pylog_struct.stdlib_bridge import BRIDGE, WARNINGS, BridgeHandler


def both(method, *args, exc_info=None, **fields):
    """Log the same through both doors."""
    special = {} if exc_info is None else {"exc_info": exc_info}
    getattr(structlog.get_logger("x"), method)(*args, **special, **fields)
    getattr(logging.getLogger("x"), method)(*args, **special, extra=fields or None)


def raised():
    try:
        raise ValueError("boom")
    except ValueError as error:
        return error


@pytest.mark.parametrize("rendering", ["json", "console"])
def test_200_events_are_the_same_bytes_from_both_doors(rendering, monkeypatch):
    monkeypatch.setattr("pylog_struct.pipeline.format_timestamp", lambda ns: "NOW")
    sink = memory_pipeline(format=rendering, service="shop")
    only_the_bridge()
    structlog.contextvars.bind_contextvars(request="r-1")
    chance = random.Random(3)
    error = raised()

    for number in range(200):
        method = chance.choice(["debug", "info", "warning", "error", "critical"])
        message = chance.choice(["plain", "took %d ms", "%s and %s", "100 %", "%(a)s", b"bytes"])
        args = {"took %d ms": (number,), "%s and %s": ("a", None), "%(a)s": ({"a": 5},)}.get(
            message, ()
        )
        if number % 10 == 0:
            message, args = "bad %d", ("x", number)
        fields = chance.choice([{}, {"a": number}, {"b": [1, {"c": None}], "d": 2.5}])
        both(method, message, *args, exc_info=error if number % 5 == 0 else None, **fields)

    lines = [re.sub(rb'(?<="timestamp":")[^"N]+', b"NOW", line) for line in sink.lines]
    assert len(lines) == 400
    assert lines[0::2] == lines[1::2]
    if rendering == "json":
        assert all(not isinstance(json.loads(line)["event"], dict) for line in lines)


def test_a_record_is_rendered_once():
    sink = memory_pipeline()

    logging.getLogger("x").info('{"already": "json"}')

    event = sink.events[0]
    assert without(event) == {"level": "info", "logger": "x", "event": '{"already": "json"}'}


def test_through_a_queue_everything_is_kept():
    sink = MemorySink()
    pylog_struct.configure(sink=QueueSink(sink), format="json")
    structlog.contextvars.bind_contextvars(request=7)

    try:
        raise ValueError("boom")
    except ValueError:
        both("error", "failed", exc_info=True, order=1)
        structlog.get_logger("x").info("stack", stack_info=True)
        logging.getLogger("x").info("stack", stack_info=True)

    assert pylog_struct.flush(10)
    events = sink.events
    assert [event["request"] for event in events] == [7] * 4
    assert [event["exception"]["message"] for event in events[:2]] == ["boom"] * 2
    assert all("test_through_a_queue" in event["stack"] for event in events[2:])
    assert not any("exc_info" in event or "stack_info" in event for event in events)


ATTRIBUTES = sorted(vars(logging.makeLogRecord({})))


@pytest.mark.parametrize("name", [*ATTRIBUTES, "message", "asctime", "taskName"])
def test_every_attribute_of_a_log_record_can_be_a_key_of_extra(name):
    sink = memory_pipeline()

    logging.getLogger("x").info("m %s", 1, extra={name: "mine", "other": 2}, stack_info=True)
    pylog_struct.shutdown()

    event = sink.events[0]
    assert (event["logger"], event["event"], event["other"]) == ("x", "m 1", 2)
    assert "mine" in (event.get(name), event.get(f"extra.{name}"))
    with pytest.raises(KeyError):  # the stdlib's own behaviour is back
        logging.getLogger("x").error("m", extra={"name": "mine"})  # noqa: G101


def test_keys_of_extra_are_the_same_as_those_of_structlogs_door():
    sink = memory_pipeline()

    both("info", "m", name="mine", thread=5, message="text", args=[1])

    first, second = sink.events
    assert without(first) == without(second)
    assert (first["name"], first["thread"]) == ("mine", 5)


def test_records_may_be_made_by_keyword_too():
    memory_pipeline()

    record = logging.getLogger("x").makeRecord(
        "x", 20, "f", 1, "m", (), None, extra={"name": "mine", "a": 1}
    )

    assert (record.name, record.a) == ("x", 1)


def test_a_make_record_of_somebody_elses_stays_theirs():
    memory_pipeline()
    ours = logging.Logger.makeRecord
    try:
        logging.Logger.makeRecord = theirs = lambda self, *args, **kwargs: ours(
            self, *args, **kwargs
        )
        pylog_struct.shutdown()
        assert logging.Logger.makeRecord is theirs
        assert logging.getLogger("x").makeRecord("x", 20, "f", 1, "m", (), None).name == "x"
    finally:
        logging.Logger.makeRecord = ours.__wrapped__


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_reserved_names_in_a_record_that_others_made_raise_nothing(name):
    sink = memory_pipeline()
    only_the_bridge()
    record = logging.makeLogRecord({"name": "x", "levelno": 20, "msg": "m", name: "mine"})

    BridgeHandler().handle(record)

    assert len(sink.events) == 1


@pytest.mark.parametrize("name", ["event", "level", "logger", "timestamp", "service", "exception"])
def test_extra_with_a_key_of_ours_moves_under_extra(name):
    sink = memory_pipeline(service="shop")

    logging.getLogger("x").error("m", extra={name: "mine"}, exc_info=raised())

    assert sink.events[0][f"extra.{name}"] == "mine"


def test_odd_messages_and_arguments_are_kept():
    sink = memory_pipeline()
    only_the_bridge()

    class Rude:
        def __str__(self):
            raise RuntimeError("no")

        __repr__ = __str__

    log = logging.getLogger("x")
    log.info(5)
    log.info(Rude())
    log.info("a %s", Rude())
    log.info("a %999999999d", 1)
    log.info("%(missing)s", {"a": 1})
    log.info(ValueError("as message"))
    log.info({"event": "a dict", "a": 1})
    log.handle(logging.makeLogRecord({"msg": "odd args %s", "args": "text", "levelno": 20}))

    events = sink.events
    assert [events[index]["event"] for index in (0, 5, 6)] == [
        "5",
        "ValueError: as message",
        "a dict",
    ]
    assert "Rude" in events[1]["event"]
    assert events[2]["event"].startswith("a <")
    assert events[3]["event"] == "a %999999999d"
    assert "width" in events[3]["log_format_error"]
    assert "KeyError" in events[4]["log_format_error"]
    assert events[6]["a"] == 1
    assert events[7]["event"] == "odd args text"


def test_a_record_that_cannot_be_read_becomes_a_stub(capfd):
    sink = memory_pipeline()
    only_the_bridge()
    record = logging.makeLogRecord({"msg": "broken", "levelno": "high", "levelname": None})

    BridgeHandler().handle(record)

    assert sink.events[0]["event"] == "broken"
    assert "could not be read" in sink.events[0]["bridge_error"]


def test_strict_lets_the_error_of_such_a_record_through():
    memory_pipeline(strict=True)
    only_the_bridge()

    with pytest.raises(TypeError):
        BridgeHandler().emit(logging.makeLogRecord({"levelno": "high", "created": None}))


def test_records_of_structlogs_own_formatter_and_of_a_queue_handler():
    sink = memory_pipeline()
    record = logging.makeLogRecord(
        {"name": "x", "levelno": 20, "levelname": "INFO", "msg": {"event": "wrapped", "a": 1}}
    )
    record._logger, record._name = logging.getLogger("x"), "info"
    logging.getLogger("x").handle(record)

    channel = queue.SimpleQueue()
    sender = logging.handlers.QueueHandler(channel)
    sender.emit(logging.LogRecord("y", 30, "f", 1, "sent %s", ("far",), None))
    logging.getLogger("y").handle(channel.get())
    logging.getLogger("z").handle(
        logging.makeLogRecord({"name": "z", "msg": "m", "levelno": 20, "exc_text": "Traceback …"})
    )

    events = sink.events
    assert without(events[0]) == {"level": "info", "logger": "x", "event": "wrapped", "a": 1}
    assert (events[1]["event"], events[1]["level"]) == ("sent far", "warning")
    assert events[2]["exc_text"] == "Traceback …"


def test_the_timestamp_is_that_of_the_record():
    sink = memory_pipeline()

    logging.getLogger("x").handle(
        logging.makeLogRecord({"msg": "m", "levelno": 20, "created": 86400.25})
    )

    assert sink.events[0]["timestamp"] == "1970-01-02T00:00:00.250000Z"


@pytest.mark.parametrize(
    "name", ["uvicorn.access", "sqlalchemy.engine.Engine", "urllib3.connectionpool"]
)
def test_libraries_arrive_under_their_names(name):
    sink = memory_pipeline()

    logging.getLogger(name).debug(
        '%s "%s %s HTTP/%s" %d', "::1", "GET", "/", "1.1", 200, extra={"color_message": "\x1b[32m"}
    )

    assert without(sink.events[0]) == {
        "level": "debug",
        "logger": name,
        "event": '::1 "GET / HTTP/1.1" 200',
    }


def test_console_handlers_step_aside_and_come_back():
    root = logging.getLogger()
    ours, file_like = logging.StreamHandler(io.StringIO()), logging.handlers.MemoryHandler(10)
    root.addHandler(ours)
    root.addHandler(file_like)
    level = root.level
    try:
        memory_pipeline()
        logging.getLogger("x").info("m")
        during = list(root.handlers)
        pylog_struct.shutdown()
        after = list(root.handlers)
    finally:
        root.removeHandler(ours)
        root.removeHandler(file_like)
        file_like.close()

    assert ours not in during
    assert file_like in during
    assert ours in after
    assert ours.stream.getvalue() == ""
    assert root.level == level


def test_configuring_again_brings_the_bridge_back_where_others_cleared_the_root_logger():
    root = logging.getLogger()
    before = root.handlers[:]
    memory_pipeline()
    console = logging.StreamHandler(io.StringIO())
    try:
        # As logging.config.dictConfig, fileConfig and basicConfig(force=True) do.
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        root.addHandler(console)
        root.setLevel("CRITICAL")
        sink = memory_pipeline()

        logging.getLogger("x").info("seen")

        assert [event["event"] for event in sink.events] == ["seen"]
        assert console.stream.getvalue() == ""
        assert sum(isinstance(handler, BridgeHandler) for handler in root.handlers) == 1
        pylog_struct.shutdown()
        assert console in root.handlers
        assert not any(isinstance(handler, BridgeHandler) for handler in root.handlers)
    finally:
        root.handlers[:] = before


def test_without_the_bridge_logging_is_left_alone():
    sink = memory_pipeline(stdlib=False)

    logging.getLogger("x").error("not ours")

    assert not sink.records
    assert not BRIDGE.installed


def test_the_bridge_goes_when_the_next_configuration_does_without_it():
    memory_pipeline()
    sink = memory_pipeline(stdlib=False)

    logging.getLogger("x").error("not ours")

    assert not sink.records


def test_before_a_pipeline_is_there_a_record_is_nobodys():
    BridgeHandler().emit(logging.makeLogRecord({"msg": "m"}))


def test_the_handler_has_no_lock_to_deadlock_on():
    assert BridgeHandler().lock is None


def test_filters_count_and_may_replace_the_record():
    sink = memory_pipeline()
    handler = BridgeHandler()
    other = logging.makeLogRecord({"name": "other", "levelno": 20, "msg": "replaced"})
    verdicts = iter([False, True, other])
    handler.addFilter(lambda record: next(verdicts))

    for _ in range(3):
        handler.handle(logging.makeLogRecord({"name": "x", "levelno": 20, "msg": "m"}))

    names = [event["logger"] for event in sink.events]
    # Before Python 3.12 a filter's record only means "yes".
    assert names == (["x", "other"] if sys.version_info >= (3, 12) else ["x", "x"])


@pytest.mark.parametrize("before", [True, False])
def test_records_that_come_while_one_is_handled_are_not_dropped(monkeypatch, before):
    guard = SimpleNamespace(in_progress=before)
    monkeypatch.setattr("pylog_struct.stdlib_bridge._GUARD", guard)
    seen = []
    memory_pipeline(processors=[lambda _, __, event: (seen.append(guard.in_progress), event)[1]])

    BridgeHandler().handle(logging.makeLogRecord({"name": "x", "levelno": 20, "msg": "m"}))

    assert seen == [False]
    assert guard.in_progress is before


class TestWarnings:
    def test_become_events_with_their_origin(self):
        sink = memory_pipeline()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = WARNINGS._show
            warnings.warn("old spelling", DeprecationWarning, stacklevel=1)

        event = sink.events[0]
        assert (event["logger"], event["level"], event["event"]) == (
            "py.warnings",
            "warning",
            "old spelling",
        )
        assert event["category"] == "DeprecationWarning"
        assert event["filename"].endswith("test_stdlib_bridge.py")
        assert event["lineno"] > 0

    def test_to_a_file_go_the_usual_way(self):
        seen = []
        warnings.showwarning = lambda *args: seen.append(args)
        sink = memory_pipeline()
        out = io.StringIO()

        warnings.showwarning("text", UserWarning, "f.py", 1, file=out)

        assert seen == [("text", UserWarning, "f.py", 1, out, None)]
        assert not sink.records

    def test_are_given_back_at_shutdown(self):
        before = warnings.showwarning
        memory_pipeline()
        during = warnings.showwarning
        pylog_struct.shutdown()

        assert during != before
        assert warnings.showwarning is before

    def test_that_somebody_else_took_over_stay_theirs(self):
        memory_pipeline()

        def theirs(*args):
            pass

        warnings.showwarning = theirs
        pylog_struct.shutdown()

        assert warnings.showwarning is theirs

    def test_undone_by_the_end_of_a_block_they_come_back_with_the_next_configuration(self):
        with warnings.catch_warnings():
            memory_pipeline()
        sink = memory_pipeline()

        warnings.showwarning(UserWarning("seen"), UserWarning, "f.py", 1)

        assert [event["event"] for event in sink.events] == ["seen"]

    def test_a_hook_around_ours_is_left_alone_by_the_next_configuration(self, monkeypatch):
        memory_pipeline()
        ours = warnings.showwarning

        def theirs(*args):
            ours(*args)

        monkeypatch.setattr(warnings, "showwarning", theirs)
        sink = memory_pipeline()

        warnings.showwarning(UserWarning("seen"), UserWarning, "f.py", 1)

        assert warnings.showwarning is theirs
        assert [event["event"] for event in sink.events] == ["seen"]

    def test_can_be_left_alone_or_silenced_by_level(self):
        before = warnings.showwarning
        memory_pipeline(warnings=False)
        assert warnings.showwarning is before

        sink = memory_pipeline(level="ERROR")
        warnings.showwarning("quiet", UserWarning, "f.py", 1)
        assert not sink.records

    def test_installing_twice_is_installing_once(self):
        before = warnings.showwarning
        WARNINGS.install()
        WARNINGS.install()
        WARNINGS.uninstall()

        assert warnings.showwarning is before

    def test_in_the_middle_of_a_fork_they_wait_for_the_next_event(self, monkeypatch):
        sink = memory_pipeline()
        monkeypatch.setattr("pylog_struct.fork.under_way", lambda: True)

        warnings.showwarning("threads", DeprecationWarning, "f.py", 1)
        at_once = len(sink.records)
        structlog.get_logger().info("next")

        assert at_once == 0
        assert [event["event"] for event in sink.events] == ["threads", "next"]

    def test_without_a_pipeline_the_previous_hook_gets_them(self):
        seen = []
        warnings.showwarning = lambda *args: seen.append(args[0])
        WARNINGS.install()
        warnings.showwarning("text", UserWarning, "f.py", 1)

        assert seen == ["text"]


def test_asyncio_trouble_arrives_with_its_exception():
    sink = memory_pipeline(level="INFO")

    async def scenario():
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "task failed", "exception": raised()})

    asyncio.run(scenario())

    event = sink.events[-1]
    assert (event["logger"], event["level"]) == ("asyncio", "error")
    assert event["exception"]["message"] == "boom"


def test_eight_threads_through_both_doors_balance():
    sink = memory_pipeline()

    def work(number):
        for index in range(250):
            structlog.get_logger("s").info("m", thread=number, index=index)
            logging.getLogger("l").info("m", extra={"thread_number": number, "index": index})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (
        len(
            {
                (e["logger"], e.get("thread", e.get("thread_number")), e["index"])
                for e in sink.events
            }
        )
        == 4000
    )
    assert pylog_struct.statistics().balanced
