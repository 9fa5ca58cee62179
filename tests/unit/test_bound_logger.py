"""The bound logger: structlog's methods, that take anything and never raise."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import json
import logging
import pickle
import random
import string
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import memory_pipeline, only_the_bridge
from support.payloads import PAYLOADS, strict_loads
from support.process import run
from support.queue_sinks import GatedSink

import pylog_struct
from pylog_struct import BoundLogger, get_logger
from pylog_struct.active import ACTIVE
from pylog_struct.sinks import MemorySink, QueueSink

METHODS = ["debug", "info", "warning", "warn", "error", "critical", "fatal", "exception"]
LEVELS = {"warn": "warning", "fatal": "critical", "exception": "error"}


def call(logger, method, *args, **fields):
    """Call a method of either door, or an async one to its end."""
    result = getattr(logger, method)(*args, **fields)
    if asyncio.iscoroutine(result):
        asyncio.run(_await(result))


async def _await(awaitable):
    return await awaitable


# -- keys ------------------------------------------------------------------------------------------


def test_keys_that_clash_raise_nothing_and_no_value_is_lost():
    sink = memory_pipeline()

    structlog.get_logger("mine").info(
        "m",
        event=1,
        level=2,
        timestamp=3,
        method=4,
        method_name=5,
        exc_info=None,
        self=6,
        logger=7,
        name=8,
        args=9,
    )

    event = sink.events[0]
    assert event.pop("timestamp") != 3
    assert event == {
        "level": "info",
        "logger": "mine",
        "event": "m",
        "method": 4,
        "method_name": 5,
        "self": 6,
        "name": 8,
        "args": 9,
        "extra.event": 1,
        "extra.level": 2,
        "extra.timestamp": 3,
        "extra.logger": 7,
    }


def test_a_key_that_is_under_extra_already_keeps_its_place_too():
    sink = memory_pipeline()

    structlog.get_logger().info("m", **{"level": 1, "extra.level": 2, "extra.level_2": 3})

    event = sink.events[0]
    assert [event["extra.level"], event["extra.level_2"], event["extra.level_3"]] == [2, 3, 1]


@pytest.mark.parametrize(
    "bound", ["event", "level", "timestamp", "logger", "self", "positional_args"]
)
def test_any_name_can_be_bound(bound):
    sink = memory_pipeline()

    structlog.get_logger().bind().bind(**{bound: 1}).new(**{bound: 2}).info("m")

    event = sink.events[0]
    assert event["event"] == "m"
    assert event.get(f"extra.{bound}", event.get(bound)) == 2


def test_the_event_may_be_a_keyword_or_missing():
    sink = memory_pipeline()
    log = structlog.get_logger()

    log.info(event="named")
    log.info(a=1)
    asyncio.run(_await(log.ainfo(event="named too")))

    assert [event.get("event") for event in sink.events] == ["named", None, "named too"]


RECORD_ATTRIBUTES = sorted(
    vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}
)


@pytest.mark.parametrize("name", RECORD_ATTRIBUTES)
def test_every_attribute_of_a_log_record_is_a_key_like_any_other(name):
    sink = memory_pipeline()

    structlog.get_logger().info("m", **{name: "mine"})
    structlog.get_logger().bind(**{name: "mine"}).info("m")

    for event in sink.events:
        # A text under stack_info is taken for a stack.
        assert "mine" in (event.get(name), event.get(f"extra.{name}"), event.get("stack"))


# -- messages --------------------------------------------------------------------------------------

ODD = st.text(alphabet="{}%\\ sdr(x)*.0123456789éñ\x00\n\ud800", max_size=30) | st.binary(
    max_size=10
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), ODD, st.lists(st.integers(), max_size=3)
)


@settings(max_examples=150, deadline=None)
@given(
    message=ODD,
    args=st.lists(VALUES, max_size=4),
    fields=st.dictionaries(st.text(max_size=8), VALUES, max_size=4),
    method=st.sampled_from(METHODS),
)
def test_no_message_and_no_arguments_make_a_call_raise(message, args, fields, method):
    sink = memory_pipeline()

    getattr(structlog.get_logger(), method)(message, *args, **fields)

    event = strict_loads(sink.lines[0])
    assert event["level"] == LEVELS.get(method, method)


@pytest.mark.slow
def test_ten_thousand_random_messages_through_every_method_and_both_doors():
    sink = memory_pipeline()
    only_the_bridge()
    doors = [structlog.get_logger("s"), logging.getLogger("s")]
    chance = random.Random(5)
    alphabet = "{}%\\ sdrx()" + string.ascii_lowercase[:4]
    failed = 0

    async def log_all():
        nonlocal failed
        for number in range(10_000):
            text = "".join(chance.choices(alphabet, k=chance.randrange(12)))
            message = text.encode() if number % 7 == 0 else text
            args = chance.choices([1, "a", b"b", None, {"k": 1}, 2.5, object()], k=number % 4)
            fields = {chance.choice(["a", "msg", "x y", "{}", "%s"]): number}
            method = METHODS[number % 8]
            if number % 3 == 0:
                await getattr(doors[0], f"a{method}")(message, *args, **fields)
            elif number % 3 == 1:
                getattr(doors[0], method)(message, *args, **fields)
            else:
                extra = {key: value for key, value in fields.items() if key != "msg"}
                with contextlib.suppress(DeprecationWarning):  # Logger.warn
                    getattr(doors[1], "warning" if method == "warn" else method)(
                        message, *args, extra=extra
                    )
            event = strict_loads(sink.lines[-1])
            if "log_format_error" in event:
                failed += 1
                assert event["event"] == text  # verbatim
                assert len(event["positional_args"]) == len(args)
            elif not args:
                assert event["event"] == text

    asyncio.run(log_all())

    assert len(sink.records) == 10_000
    assert 1000 < failed < 9000
    assert pylog_struct.statistics().balanced


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prefix", ["", "a"])
def test_every_method_takes_positional_arguments(prefix, method):
    sink = memory_pipeline()

    call(structlog.get_logger(), prefix + method, "a %s", "b", c=1)

    assert sink.events[0]["event"] == "a b"
    assert sink.events[0]["level"] == LEVELS.get(method, method)
    assert sink.events[0]["c"] == 1


@pytest.mark.parametrize("method", ["log", "alog"])
def test_log_takes_any_number_as_level(method):
    sink = memory_pipeline(level=1)
    log = structlog.get_logger()

    for level in (1, 20, 27, 50, 99):
        call(log, method, level, "a %s", "b")
    logging.getLogger("x").log(27, "c")

    levels = [event["level"] for event in sink.events]
    assert levels == ["level 1", "info", "level 27", "critical", "level 99", "level 27"]
    assert all(event["event"] == "a b" for event in sink.events[:5])


def test_log_takes_names_and_nonsense_for_a_level_too():
    sink = memory_pipeline()
    log = structlog.get_logger()

    for level in ("ERROR", "warn", True, None, "loud", 3.5):
        log.log(level, "x")
        log.alog(level, "x")

    expected = ["error", "warning", None, "info", "info", "info"]
    expected = [level for level in expected for _ in range(2) if level]
    assert [event["level"] for event in sink.events] == expected


@pytest.mark.parametrize(
    "method", ["debug", "adebug", "info", "exception", "aexception", "log", "alog"]
)
def test_below_its_level_a_method_does_nothing(method):
    sink = memory_pipeline(level="CRITICAL")

    call(structlog.get_logger(), method, *([30] if "log" in method else []), "x")

    assert not sink.records


@pytest.mark.parametrize(
    "payload", [one for one in PAYLOADS if not one.expensive], ids=lambda one: one.name
)
def test_any_value_comes_through_both_doors_as_strict_json(payload):
    sink = memory_pipeline()
    only_the_bridge()

    structlog.get_logger("x").info("door", value=payload.make())
    logging.getLogger("x").info("door", extra={"value": payload.make()})

    first, second = (strict_loads(line) for line in sink.lines)
    for event in (first, second):
        assert event["event"] == "door"
        assert "value" in event
    assert pylog_struct.statistics()["memory"].written == 2


@pytest.mark.parametrize(
    "payload", [one for one in PAYLOADS if not one.expensive], ids=lambda one: one.name
)
def test_any_value_will_do_as_event_and_argument(payload):
    sink = memory_pipeline()
    only_the_bridge()

    structlog.get_logger().info(payload.make())
    structlog.get_logger().info("a %s", payload.make())
    logging.getLogger("x").info(payload.make())
    logging.getLogger("x").info("a %s", payload.make())

    assert len([strict_loads(line) for line in sink.lines]) == 4


# -- exceptions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exception", "aexception"])
def test_exception_carries_type_message_and_stack_in_json(method):
    sink = memory_pipeline()

    async def fail():
        try:
            raise ValueError("boom")
        except ValueError:
            result = getattr(structlog.get_logger(), method)("failed")
            if result is not None:
                await result

    asyncio.run(fail())

    shown = sink.events[0]["exception"]
    assert (shown["type"], shown["message"]) == ("ValueError", "boom")
    assert 'raise ValueError("boom")' in shown["stack"]


def test_exception_carries_type_message_and_stack_on_the_console():
    sink = memory_pipeline(format="console")
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("x").exception("failed")

    for line in sink.lines:
        assert b"ValueError: boom" in line
        assert b'raise ValueError("boom")' in line


def test_exception_without_one_and_exc_info_false_carry_none():
    sink = memory_pipeline()

    structlog.get_logger().exception("nothing is being handled")
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger().exception("no traceback wanted", exc_info=False)

    assert all("exception" not in event and "exc_info" not in event for event in sink.events)


# -- async -----------------------------------------------------------------------------------------


def queued(sink, **options):
    pylog_struct.configure(sink=QueueSink(sink, **options), format="json", level="DEBUG")


def test_an_async_method_that_nobody_awaits_delivers_all_the_same():
    sink = memory_pipeline()

    async def forgetful():
        structlog.get_logger().ainfo("forgotten")

    asyncio.run(forgetful())
    structlog.get_logger().ainfo("no loop at all")

    assert [event["event"] for event in sink.events] == ["forgotten", "no loop at all"]


def test_tasks_gather_and_wait_for_take_what_async_methods_return():
    sink = memory_pipeline()
    log = structlog.get_logger()

    async def all_ways():
        await asyncio.create_task(log.ainfo("task"))
        await asyncio.gather(log.ainfo("g1"), log.adebug("g2"))
        await asyncio.wait_for(log.aerror("waited for"), 5)
        async with asyncio.TaskGroup() as group:
            group.create_task(log.ainfo("group"))

    asyncio.run(all_ways())
    asyncio.run(log.ainfo("run"))

    expected = ["task", "g1", "g2", "waited for", "group", "run"]
    assert [event["event"] for event in sink.events] == expected


def test_what_an_async_method_returns_can_be_closed_and_thrown_into():
    memory_pipeline()
    log = structlog.get_logger()

    log.ainfo("a").close()
    with pytest.raises(KeyError):
        log.ainfo("b").throw(KeyError("mine"))
    started = log.ainfo("c")
    with pytest.raises(StopIteration):
        started.send(None)
    started.close()


def test_awaiting_waits_for_room_while_the_loop_goes_on():
    sink = GatedSink()
    queued(sink, capacity=1, policy="block", reserve=0)
    log = structlog.get_logger()

    async def scenario():
        await log.ainfo("in flight")
        waiting = asyncio.ensure_future(log.ainfo("waits"))
        ticks = 0
        while ticks < 50:
            await asyncio.sleep(0)
            ticks += 1
        early = waiting.done()
        sink.gate.set()
        await asyncio.wait_for(waiting, 20)
        return early

    assert asyncio.run(scenario()) is False
    assert pylog_struct.flush(10)
    assert [json.loads(line)["event"] for line in sink.lines] == ["in flight", "waits"]


def test_a_cancelled_caller_does_not_take_the_event_along():
    sink = GatedSink()
    queued(sink, capacity=1, policy="block", reserve=0)
    log = structlog.get_logger()

    async def scenario():
        # One thread, and that one busy: the delivery has not begun when the caller is cancelled.
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, sink.gate.wait)
        await log.ainfo("in flight")
        task = asyncio.create_task(_await(log.ainfo("cancelled")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        sink.gate.set()
        await busy

    asyncio.run(scenario())
    assert pylog_struct.flush(10)
    assert [json.loads(line)["event"] for line in sink.lines] == ["in flight", "cancelled"]


def test_when_no_thread_can_be_had_the_event_goes_the_usual_way():
    sink = GatedSink()
    queued(sink, capacity=1, policy="block", reserve=0)
    log = structlog.get_logger()

    class NoThreads:
        def run_in_executor(self, *args):
            raise RuntimeError("cannot schedule new futures after shutdown")

    async def scenario(monkeypatch):
        await log.ainfo("in flight")
        monkeypatch.setattr(asyncio, "get_running_loop", NoThreads)
        await log.ainfo("spilled, not lost")
        monkeypatch.undo()

    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(scenario(monkeypatch))
    sink.gate.set()
    assert pylog_struct.flush(10)
    assert len(sink.lines) == 2


def test_an_async_call_sees_its_callers_exception_and_context():
    sink = MemorySink()
    queued(sink)
    variable = contextvars.ContextVar("mine")

    async def request(number):
        structlog.contextvars.bind_contextvars(request=number)
        variable.set(number)
        try:
            raise ValueError(number)
        except ValueError:
            await asyncio.sleep(0)
            await structlog.get_logger().aexception("failed")

    async def both():
        await asyncio.gather(request(1), request(2))

    asyncio.run(both())
    assert pylog_struct.flush(10)
    pairs = {(event["request"], event["exception"]["message"]) for event in sink.events}
    assert pairs == {(1, "1"), (2, "2")}


def test_an_async_call_below_its_level_or_dropped_by_a_processor_can_be_awaited():
    def drop(*_):
        raise structlog.DropEvent

    sink = MemorySink()
    pylog_struct.configure(sink=QueueSink(sink), processors=[drop])
    log = structlog.get_logger()

    async def scenario():
        await log.adebug("below")
        await log.ainfo("dropped")
        await log.aexception("dropped")

    asyncio.run(scenario())
    assert not sink.records
    assert pylog_struct.statistics().discarded == 2


# -- bound values ----------------------------------------------------------------------------------


def test_bind_unbind_new_and_try_unbind():
    sink = memory_pipeline()
    log = structlog.get_logger("x", initial=0)

    bound = log.bind(a=1, b=2)
    bound.unbind("a").info("1")
    bound.try_unbind("a", "nope").info("2")
    bound.new(c=3).info("3")
    bound.info("4")
    with pytest.raises(KeyError):
        bound.unbind("nope")

    shown = [
        {key: event[key] for key in ("initial", "a", "b", "c") if key in event}
        for event in sink.events
    ]
    assert shown == [
        {"initial": 0, "b": 2},
        {"initial": 0, "b": 2},
        {"c": 3},
        {"initial": 0, "a": 1, "b": 2},
    ]


def test_precedence_is_call_before_bound_before_context_variables():
    sink = memory_pipeline()
    structlog.contextvars.bind_contextvars(a="context", b="context", c="context")
    log = structlog.get_logger().bind(b="bound", c="bound")

    log.info("all three", c="call")
    with structlog.contextvars.bound_contextvars(a="inner"):
        log.info("inner")
        logging.getLogger("x").info("stdlib sees them too")
    log.info("outer")
    structlog.contextvars.clear_contextvars()
    log.info("cleared")

    events = sink.events
    assert (events[0]["a"], events[0]["b"], events[0]["c"]) == ("context", "bound", "call")
    assert [event.get("a") for event in events] == ["context", "inner", "inner", "context", None]


def test_context_variables_with_a_clashing_name_move_too():
    sink = memory_pipeline()
    structlog.contextvars.bind_contextvars(level="mine", event="mine")

    structlog.get_logger().info("m")

    assert sink.events[0]["extra.level"] == "mine"
    assert sink.events[0]["extra.event"] == "mine"


def test_merge_contextvars_as_a_processor_does_no_harm():
    sink = memory_pipeline(processors=[structlog.contextvars.merge_contextvars])
    structlog.contextvars.bind_contextvars(a=1)

    structlog.get_logger().info("m", a=2)

    assert sink.events[0]["a"] == 2


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(
    "clone",
    [lambda log: pickle.loads(pickle.dumps(log)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_loggers_can_be_pickled_and_copied(clone, bound, used):
    sink = memory_pipeline()
    log = structlog.get_logger("x", a=1)
    if used:
        log.info("first")
    if bound:
        log = log.bind(b=2)

    clone(log).info("second")

    event = sink.events[-1]
    assert (event["logger"], event["a"], event.get("b")) == ("x", 1, 2 if bound else None)


def test_a_copy_does_not_share_what_is_bound():
    memory_pipeline()
    log = structlog.get_logger().bind(a=[1])

    deep = copy.deepcopy(log)
    structlog.get_context(deep)["a"].append(2)

    assert structlog.get_context(log)["a"] == [1]


def test_level_questions():
    memory_pipeline(level="WARNING")
    log = structlog.get_logger("x").bind()

    assert log.name == "x"
    assert (log.is_enabled_for(20), log.is_enabled_for(30)) == (False, True)
    assert (log.isEnabledFor(20), log.isEnabledFor(30)) == (False, True)
    assert log.get_effective_level() == log.getEffectiveLevel() == 30


def test_get_logger_is_structlogs_and_works_before_configure():
    log = get_logger("early", a=1)
    anonymous = get_logger()
    sink = memory_pipeline()

    log.info("x")
    anonymous.info("y")

    assert isinstance(log.bind(), BoundLogger)
    assert [(e["logger"], e.get("a")) for e in sink.events] == [("early", 1), ("root", None)]


def test_before_configure_a_logger_of_ours_reports_instead_of_failing(capfd):
    memory_pipeline()
    log = structlog.get_logger().bind()
    ACTIVE.pipeline = None

    log.info("into the void")

    assert "before configure()" in capfd.readouterr().err


def test_values_are_those_of_the_moment_of_the_call():
    sink = GatedSink()
    queued(sink)
    state = {"state": "at call", "inner": ["at call"]}

    structlog.get_logger().info("x", value=state)
    state["state"] = state["inner"][0] = "LATER"
    sink.gate.set()

    assert pylog_struct.flush(10)
    assert sink.events[0]["value"] == {"state": "at call", "inner": ["at call"]}


def test_with_no_stack_left_the_event_comes_with_the_next_one():
    # In a process of its own: running out of stack spoils Python 3.11 for what comes after.
    done = run(
        """
        import pylog_struct, structlog
        pylog_struct.configure(format="json")
        log = structlog.get_logger()
        log.info("warm")
        count = 0
        def deeper():
            global count
            try:
                deeper()
            finally:
                if count < 20:
                    count += 1
                    log.error("at the bottom", number=count)
        try:
            deeper()
        except RecursionError:
            pass
        log.info("afterwards")
        assert pylog_struct.statistics().balanced
        """
    )

    assert done.code == 0, done.stderr
    assert len(done.named("afterwards")) == 1
    # A sink that was hit in the middle of its own accounting may say so, and the line comes again.
    arrived = len(done.named("at the bottom")) + done.stderr.count("lost: ")
    assert arrived >= 15, done.stderr


def test_what_was_put_off_is_delivered_by_flush():
    sink = memory_pipeline()
    ACTIVE.overdue.append((40, "error", structlog.get_logger("x").bind()._logger, "late", 0))

    assert pylog_struct.flush()

    assert sink.events[0]["event"] == "late"
    assert "no stack left" in sink.events[0]["render_error"]
    assert sink.events[0]["timestamp"].startswith("1970")


@pytest.mark.parametrize("method", ["info", "ainfo"])
def test_a_pipeline_that_breaks_costs_a_report_not_an_exception(capfd, monkeypatch, method):
    queued(MemorySink())

    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(ACTIVE.pipeline, "emit", broken)
    monkeypatch.setattr(ACTIVE.pipeline, "render", broken)

    call(structlog.get_logger(), method, "x", what={"no": {"plain", "value"}})

    assert "a log call failed" in capfd.readouterr().err
