"""The compiled hot path beside the one in Python: found, left out, and no way to misuse it."""

from __future__ import annotations

import copy
import gc
import importlib.util
import inspect
import pickle
import re
import sys
import threading
import weakref
from pathlib import Path

import pytest
import structlog
from support.events import memory_pipeline
from support.process import finish, run, start

import pylog_struct
from pylog_struct import BoundLogger
from pylog_struct._compiled import SPEED
from pylog_struct.active import ACTIVE
from pylog_struct.processors import ECS
from pylog_struct.processors.limits import Limits
from pylog_struct.record import Record
from pylog_struct.sinks import LockedSink, MemorySink, QueueSink

NATIVE = Path(__file__).resolve().parents[2] / "native"

LEVELS = ("debug", "info", "warning", "error", "critical")
COLLECTED = """
import contextvars, gc, structlog, pylog_struct
from pylog_struct.sinks import MemorySink
from structlog.contextvars import _CONTEXT_VARS, bind_contextvars
late = {f"structlog_late{n}": contextvars.ContextVar(f"structlog_late{n}", default=...) for n in range(60)}
armed = []
def collected(phase, info):
    if armed:
        armed.clear()
        _CONTEXT_VARS.update(late)
gc.callbacks.append(collected)
bind_contextvars(**{f"v{n}": n for n in range(10)})
some = dict(_CONTEXT_VARS)
sink = MemorySink()
for number in range(1, 40):  # allocations until the collection: it happens at every point once
    _CONTEXT_VARS.clear()
    pylog_struct.configure(sink=sink, format="json")
    log = structlog.get_logger("x").bind()
    log.info("warm")
    _CONTEXT_VARS.update(some)
    gc.collect()
    armed.append(True)
    gc.set_threshold(number)
    log.info("e")
    gc.set_threshold(700)
    armed.clear()
found = [event for event in sink.events if event["event"] == "e"]
assert len(found) == 39
assert all(event[f"v{n}"] == n for event in found for n in range(10))
"""
INTERPRETERS = """
import json, os, sys
first = sys.argv[1]
CODE = '''
import structlog, pylog_struct
from pylog_struct._compiled import SPEED
from pylog_struct.sinks import StreamSink
pylog_struct.configure(sink=StreamSink("stdout"), format="json")
for number in range(3):
    structlog.get_logger("x").bind(a=1).info("plain", number=number, place=PLACE, there=SPEED is not None)
assert pylog_struct.flush(10)
'''
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    other = interpreters.create("legacy")
else:
    import _xxsubinterpreters as interpreters
    other = interpreters.create(isolated=False)
for place in ("main", "other") if first == "main" else ("other", "main"):
    if place == "main":
        exec(CODE, {"PLACE": place})
    else:
        failed = interpreters.run_string(other, f"PLACE = {place!r}" + CODE)
        assert failed is None, failed
os._exit(0)  # an interpreter with threads cannot be taken down
"""
WHICH = """
import structlog, pylog_struct
from pylog_struct._compiled import SPEED
from pylog_struct.sinks import QueueSink, StreamSink
pylog_struct.configure(sink=QueueSink(StreamSink("stdout")), format="json")
log = structlog.get_logger("x").bind(a=1)
for number in range(3):
    log.info("plain", number=number)
log.warning("%d of %d", 1, 2)
log.info("speed", there=SPEED is not None)
"""
compiled = pytest.mark.skipif(SPEED is None, reason="nothing is compiled in this environment")


def test_pure_on_request():
    done = run(WHICH, PYLOG_STRUCT_PURE="1")

    assert [event["event"] for event in done.events] == ["plain"] * 3 + ["1 of 2", "speed"]
    assert done.events[-1]["there"] is False
    assert done.code == 0


def test_pure_where_the_module_is_missing():
    done = run("import sys; sys.modules['pylog_struct._speed'] = None" + WHICH)

    assert [event["number"] for event in done.named("plain")] == [0, 1, 2]
    assert done.named("speed")[0]["there"] is False


def test_zero_means_no():
    done = run(WHICH, PYLOG_STRUCT_PURE="0")

    there = importlib.util.find_spec("pylog_struct._speed") is not None
    assert done.named("speed")[0]["there"] is there


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="they have another interface there")
@pytest.mark.parametrize("first", ["main", "other"])
def test_another_interpreter_of_the_process_does_without(first):
    """As mod_wsgi has them: in 3.12 the types of one interpreter are of no use in another."""
    done = finish(start(INTERPRETERS, first))

    assert done.code == 0, done.stderr
    for place, there in (("main", SPEED is not None), ("other", False)):
        found = [event for event in done.events if event["place"] == place]
        assert [event["number"] for event in found] == [0, 1, 2]
        assert {event["there"] for event in found} == {there}


def test_the_methods_look_like_methods():
    for name in (*LEVELS, "warn", "fatal", "msg"):
        method = getattr(BoundLogger, name)
        assert callable(method)
        assert str(inspect.signature(method)) == "(self, event=None, /, *args, **fields)" or (
            list(inspect.signature(method).parameters) == ["self", "event", "args", "fields"]
            or SPEED is None
        )
        assert "placeholders" in method.__doc__
        assert method.__name__ in LEVELS


@compiled
def test_of_another_object_they_are_refused_as_any_method_is():
    with pytest.raises(TypeError):
        BoundLogger.info(object(), "x")
    with pytest.raises(TypeError):
        BoundLogger.info()


def test_a_subclass_may_call_them():
    class Louder(BoundLogger):
        def info(self, event=None, /, *args, **fields):
            super().info(event, *args, loud=True, **fields)

    sink = memory_pipeline()
    structlog.configure(wrapper_class=Louder)
    structlog.get_logger().info("x", a=1)
    structlog.get_logger().error("y")

    assert [event.get("loud") for event in sink.events] == [True, None]


def test_any_name_is_a_field():
    sink = memory_pipeline()
    structlog.get_logger().info("x", self=1, args=2, level=3, moment=4, fields=5)

    event = sink.events[0]
    assert (event["self"], event["args"], event["extra.level"]) == (1, 2, 3)
    assert (event["moment"], event["fields"]) == (4, 5)


def test_event_by_keyword_and_without_any():
    sink = memory_pipeline()
    structlog.get_logger().info(event="by keyword", a=1)
    structlog.get_logger().info()
    structlog.get_logger().info(a=2)

    assert [event.get("event") for event in sink.events] == ["by keyword", None, None]


def test_a_str_of_somebodys_own_is_a_key_all_the_same():
    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            return str.__eq__(self, other)

    sink = memory_pipeline()
    structlog.get_logger().info("x", **{Key("a"): 1, "b": 2})

    assert (sink.events[0]["a"], sink.events[0]["b"]) == (1, 2)


def test_loggers_follow_from_one_pipeline_to_the_next():
    first = memory_pipeline()
    log = structlog.get_logger("x").bind(a=1)
    log.info("one")
    second = memory_pipeline(service="other")
    log.info("two")
    log.info("three")

    assert [event["event"] for event in first.events] == ["one"]
    assert [event["service"] for event in second.events] == ["other"] * 2


def test_a_logger_that_cannot_be_plain_asks_once():
    sink = memory_pipeline()
    log = structlog.get_logger("x").bind(a=[1])
    log.info("one")
    log._context["a"].append(2)
    log.info("two")

    assert [event["a"] for event in sink.events] == [[1], [1, 2]]


def test_what_swaps_the_processors_sees_every_event():
    sink = memory_pipeline()
    log = structlog.get_logger("x").bind()
    log.info("before")
    with structlog.testing.capture_logs() as seen:
        log.info("inside", a=1)
    log.info("after")

    assert [event["event"] for event in seen] == ["inside"]
    assert [event["event"] for event in sink.events] == ["before", "after"]


def test_copies_and_pickles_take_the_lane_again():
    sink = memory_pipeline()
    log = structlog.get_logger("x").bind(a=1)
    log.info("first")
    for one in (copy.copy(log), copy.deepcopy(log), pickle.loads(pickle.dumps(log))):
        one.info("again")

    assert [event["a"] for event in sink.events] == [1] * 4


def test_a_pipeline_that_is_replaced_goes_when_the_loggers_have_moved_on():
    memory_pipeline()
    log = structlog.get_logger("x").bind()
    log.info("x")
    gone = weakref.ref(ACTIVE.pipeline)
    memory_pipeline()
    log.info("x")
    gc.collect()

    assert gone() is None


def test_threads_share_one_entrance():
    sink = MemorySink()
    pylog_struct.configure(sink=QueueSink(sink, capacity=512, policy="block"), format="json")
    log = structlog.get_logger("x")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(thread):
        mine = log.bind(thread=thread)
        for number in range(3000):
            mine.info("x", number=number)

    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)

    assert pylog_struct.flush(30)
    events = sink.events
    for thread in range(6):
        mine = [event["number"] for event in events if event["thread"] == thread]
        assert mine == list(range(3000))
    assert pylog_struct.statistics().balanced


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_no_exception_gets_through(error):
    class Stopping(MemorySink):
        def write(self, batch):
            raise error

    pylog_struct.configure(sink=LockedSink(Stopping()), format="json")

    with pytest.raises(error):
        structlog.get_logger().info("x")
    assert pylog_struct.statistics().balanced


def test_a_garbage_collection_may_bind_more_context_variables_than_there_is_room_for():
    done = run(COLLECTED)

    assert done.code == 0, done.stderr


def test_what_is_bound_while_the_text_is_made_is_not_taken_for_what_was_there_before():
    """As a signal handler may do, or ``__del__``."""
    sink = memory_pipeline()
    log = structlog.get_logger("x").bind()
    bind = structlog.contextvars.bind_contextvars
    once = ["new"]

    def interrupt(frame, what, _):
        if once and what == "call" and frame.f_code.co_name in {"around", "current_context"}:
            bind(request=once.pop())

    log.info("warm")
    bind(request="old")
    sys.setprofile(interrupt)
    try:
        log.info("interrupted")
    finally:
        sys.setprofile(None)
    bind(request="old")
    log.info("afterwards")
    log.info("afterwards")

    assert not once
    assert [event.get("request") for event in sink.events] == [None, "new", "old", "old"]


def test_bounds_may_be_larger_than_a_machine_integer():
    huge = 10**30
    limits = Limits(max_items=huge, max_nodes=huge, max_string=huge, max_text=huge)
    sink = memory_pipeline(format=ECS(value_limits=limits))
    for _ in range(2):
        structlog.get_logger("x").info("e", items=[1, 2])

    assert [event["items"] for event in sink.events] == [[1, 2]] * 2


def test_a_record_of_the_lane_is_as_good_as_one_made_in_python():
    sink = MemorySink()
    pylog_struct.configure(sink=QueueSink(sink), format="json")
    structlog.get_logger("x").info("plain", a=1)
    assert pylog_struct.flush(10)

    (record,) = sink.records
    assert type(record) is Record
    assert {record, Record(*record), tuple(record)} == {record}


def test_nothing_is_kept_of_events():
    class Value:
        pass

    sink = memory_pipeline()
    log = structlog.get_logger("x")
    seen = []
    for number in range(300):
        value = Value()
        seen.append(weakref.ref(value))
        structlog.contextvars.bind_contextvars(odd=value)
        log.info("x", value=value, **{f"key_{number}": [value]})
        log.bind(value=value).info("y")
    structlog.contextvars.clear_contextvars()
    del value
    gc.collect()

    assert len(sink.events) == 600
    assert not [reference for reference in seen if reference() is not None]


def test_a_call_below_the_level_takes_no_reference_from_none():
    """One file serves 3.11, where None can be used up, and versions whose headers take it for immortal."""
    memory_pipeline(level="INFO")
    log = structlog.get_logger("x").bind()
    before = sys.getrefcount(None)
    for _ in range(5000):
        log.debug("not wanted", number=1)

    assert abs(sys.getrefcount(None) - before) < 1000


@pytest.mark.skipif(not NATIVE.is_dir(), reason="the sources are not here")
def test_no_macro_whose_meaning_depends_on_the_headers_of_the_build_is_used():
    sources = "\n".join(path.read_text("utf-8") for path in NATIVE.glob("*.[ch]"))

    assert "Py_INCREF(Py_None)" in sources
    assert re.findall(r"^(?!.*\*).*\bPy_RETURN_\w+;", sources, re.MULTILINE) == []
