"""The fast lanes against step by step: the same bytes for any event, and nothing raised."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.payloads import PAYLOADS, strict_loads

from pylog_struct import BoundLogger
from pylog_struct._compiled import SPEED
from pylog_struct._lane_in_python import PythonLane
from pylog_struct.active import ACTIVE
from pylog_struct.dispatch import PROCESSORS, step_by_step
from pylog_struct.fast_lane import Pieces, leaves_room
from pylog_struct.levels import INFO
from pylog_struct.metrics import Pipeline as PipelineCounts
from pylog_struct.pipeline import RESERVED, Pipeline
from pylog_struct.processors import ECS, Callsite, DocumentLimits, SequenceNumber
from pylog_struct.processors.json_renderer import JSONRenderer
from pylog_struct.processors.limits import Limits
from pylog_struct.processors.timestamps import TimestampSource
from pylog_struct.sinks import LockedSink, MemorySink, QueueSink
from pylog_struct.testing import FakeClock
from pylog_struct.thresholds import named_logger

RELAXED = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Shade(enum.Enum):
    DARK = "dark"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


# By name: hypothesis itself hashes, compares and prints what it draws, and would fall first.
BY_NAME = {payload.name: payload for payload in PAYLOADS if not payload.expensive}


class Planted(str):
    """The name of a payload, to be put into its place when the test runs."""

    __slots__ = ()


def built(value):
    if type(value) is Planted:
        return BY_NAME[value].make()
    if type(value) is dict:
        return {key: built(item) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(built(item) for item in value)
    return value


texts = st.text(max_size=20) | st.sampled_from(
    ['"', "\\", "\0", "\x1f\x7f\n\t\r\b\f", "ü€😀", "\ud800"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**65)
    | st.integers(-3, 300)
    | st.floats()
    | texts
    | st.sampled_from([
        Shade.DARK, Text("sub"), Number(3), uuid.UUID(int=5), decimal.Decimal("1.5"), b"raw",
        dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC), dt.date(2024, 2, 29), 2**63, 2**63 - 1, -(2**63),
    ])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inside: (
        st.lists(inside, max_size=5)
        | st.lists(inside, max_size=3).map(tuple)
        | st.dictionaries(texts, inside, max_size=4)
    ),
    max_leaves=12,
)
odd = st.sampled_from([Planted(name) for name in BY_NAME])
names = st.sampled_from([
    "a", "b", "user_id", "level", "timestamp", "logger", "event", "service", "extra.level", "ü",
    'q"uote', "", "self", "name", "moment", "exc_text", "sequence", "filename",
])  # fmt: skip
fields = st.dictionaries(names, values | odd, max_size=6)
plain = st.dictionaries(names, scalars, max_size=4)


class Ways:
    """One configuration, and every way that an event can take through it."""

    def __init__(self, *, processors=(), limits=None, static=None, queued=False, ecs=False):
        self.sink = MemorySink()
        self.root = QueueSink(self.sink) if queued else LockedSink(self.sink, absorb=True)
        limits = limits or Limits()
        clock = FakeClock(time=1_700_000_000.123456)
        self.made = []
        for _ in range(3):  # each its own, for the processors that count
            own = tuple(make() for make in processors)
            times = TimestampSource(clock)
            renderer = JSONRenderer(limits=limits)
            if ecs:
                renderer = ECS(value_limits=limits).prepared(service=(static or {}).get("service"))
            pipeline = Pipeline(
                self.root,
                render=renderer.render,
                counts=PipelineCounts(),
                processors=own,
                static=static,
                timestamps=times,
                plain=renderer,
            )
            pieces = Pieces(pipeline, limits, static or {}, RESERVED, own, times)
            self.made.append((pipeline, pieces))
        self.lane = PythonLane(self.made[1][1])
        self.lane.active = leaves_room(limits)
        self.python = self.lane.method(INFO, "info")

    def lines(self, bound, event, args, call):
        """The lines of one event by all ways, each from a logger of its own."""
        ways = [self._stepwise, self._in_python] + ([self._compiled] if SPEED is not None else [])
        found = []
        for way in ways:
            self.sink.clear()
            way(BoundLogger(named_logger("x"), PROCESSORS, dict(bound)), event, args, dict(call))
            assert self.root.flush(10) is None
            found.append([bytes(record.line) for record in self.sink.records])
        return found

    # fmt: off
    def _stepwise(self, logger, event, args, call):
        ACTIVE.pipeline = self.made[0][0]
        step_by_step(logger, INFO, "info", event, args, call)

    def _in_python(self, logger, event, args, call):
        ACTIVE.pipeline = self.made[1][0]
        self.python(logger, event, *args, **call)
        self.sink.records and self.again(lambda: self.python(logger, event, *args, **call))

    def _compiled(self, logger, event, args, call):
        ACTIVE.pipeline = self.made[2][0]
        logger.info(event, *args, **call)
        self.sink.records and self.again(lambda: logger.info(event, *args, **call))
    # fmt: on

    def again(self, log):
        """The second event finds everything remembered, and must be the same."""
        if self.made[0][0]._processors:
            return
        (first,) = self.sink.records
        log()
        assert self.root.flush(10) is None
        assert self.sink.records[-1].line == first.line
        self.sink.clear()
        self.sink.write([first])


@pytest.fixture
def ways():
    made = Ways(static={"service": "shop"})
    yield made
    made.root.close(5)


@RELAXED
@given(bound=plain, event=texts | values | odd, call=fields)
@example(bound={}, event="e", call={"a": [1, "x", [2.5, None]], "b": {"c": {"d": True}}})
@example(bound={"a": 1}, event="e", call={"a": 2})
@example(bound={}, event="e", call={"exc_info": True, "stack_info": False})
@example(bound={}, event="x" * 9000, call={"a": "y" * 9000})
@example(bound={}, event="e", call={"a": [[[[[1]]]]], "b": float("nan"), "c": float("-inf")})
def test_the_same_bytes_by_every_way(ways, bound, event, call):
    first, *others = ways.lines(bound, built(event), (), {key: built(call[key]) for key in call})

    assert len(first) == 1
    strict_loads(first[0])
    # What has an address in its text, or counts its calls, is made anew for nobody: compare the keys.
    for lines in others:
        assert [strict_loads(line).keys() for line in lines] == [strict_loads(first[0]).keys()]
        if not any(type(value) is Planted for value in (event, *call.values())):
            assert lines == first


@pytest.mark.parametrize("before", [[], [1, "x"], {"b": (1, 2)}], ids=str)
def test_a_list_that_holds_itself_is_the_same_one_on_every_way(ways, before):
    circular = [1]
    circular.append(circular)

    first, *others = ways.lines({}, "e", (), {"before": before, "circular": circular})

    assert strict_loads(first[0])["circular"][0] == 1
    assert all(lines == first for lines in others)


@RELAXED
@given(around=plain, bound=plain, call=plain)
def test_the_same_bytes_with_context_variables(ways, around, bound, call):
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**around)
    try:
        first, *others = ways.lines(bound, "e", (), call)
    finally:
        structlog.contextvars.clear_contextvars()

    assert all(lines == first for lines in others)


@RELAXED
@given(
    event=texts | st.sampled_from(["%s", "%d and %s", "100 %"]), args=st.lists(scalars, max_size=3)
)
def test_the_same_bytes_with_placeholders(ways, event, args):
    first, *others = ways.lines({}, event, tuple(args), {})

    assert all(lines == first for lines in others)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_depth=1),
        Limits(max_depth=2),
        Limits(max_depth=3),
        Limits(max_items=2),
        Limits(max_nodes=6),
        Limits(max_nodes=40_000),
        Limits(max_string=60),
        Limits(max_text=100),
    ],
    ids=str,
)
def test_low_limits_hold_on_every_way(limits):
    made = Ways(limits=limits)

    @RELAXED
    @given(event=texts, call=st.dictionaries(st.sampled_from("abcdefg"), values, max_size=5))
    def check(event, call):
        first, *others = made.lines({}, event, (), call)
        assert all(lines == first for lines in others)

    check()
    made.root.close(5)


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize(
    "processors",
    [
        [lambda: Callsite("module", "func_name", "filename")],
        [lambda: Callsite("func_name", "process", "thread_name")],
        [SequenceNumber],
        [lambda: Callsite("module"), SequenceNumber],
        [SequenceNumber, lambda: Callsite("func_name")],
    ],
    ids=["places", "more than places", "sequence", "both", "the other way round"],
)
def test_our_own_processors_are_not_passed_over(processors, queued):
    made = Ways(processors=processors, queued=queued)

    @RELAXED
    @given(bound=plain, call=plain)
    def check(bound, call):
        found = [
            [strict_loads(line) for line in lines] for lines in made.lines(bound, "e", (), call)
        ]
        for event in (events[0] for events in found):  # each way has its own functions
            for key in ("func_name", "sequence"):
                if key in event and key not in {**bound, **call}:
                    assert event.pop(key) in {
                        1,
                        *range(1000),
                        "_stepwise",
                        "_in_python",
                        "_compiled",
                    }
        assert all(events == found[0] for events in found)

    check()
    made.root.close(5)


@pytest.mark.parametrize("queued", [False, True])
def test_plain_events_do_take_the_lane(monkeypatch, queued):
    """Or all of the above says nothing."""
    made = Ways(processors=[lambda: Callsite("func_name")], static={"service": "s"}, queued=queued)
    logger = BoundLogger(named_logger("x"), PROCESSORS, {"bound": 1})
    structlog.contextvars.bind_contextvars(request="r")
    ACTIVE.pipeline = made.made[2][0]
    call = {"a": 1, "b": "x", "c": [1, "y"], "d": None, "e": 2.5, "f": True, "when": dt.date.min}

    def refuse(*_):
        raise AssertionError("step by step")

    monkeypatch.setattr(ACTIVE, "emit", refuse)
    made.python(logger, "plain", **call)
    logger.info("plain", **call)

    assert made.root.flush(10) is None
    first, second = made.sink.events
    assert first == second
    assert first["request"] == "r"
    assert first["func_name"] == "test_plain_events_do_take_the_lane"
    made.root.close(5)


ecs_names = st.sampled_from([
    "order_id", "customer", "trace.id", "http.response.status_code", "user", "host", "a.b", "a", "labels",
    "message", "event", "service.name", "process.pid", "error", "error.message", "@timestamp", "dead",
])  # fmt: skip
ecs_values = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | texts | values


@pytest.mark.skipif(SPEED is None, reason="ECS has no lane in Python, but a quick way of its own")
@RELAXED
@given(
    events=st.lists(
        st.tuples(texts, st.dictionaries(ecs_names, ecs_values, max_size=4)), min_size=1, max_size=6
    ),
    bound=st.dictionaries(ecs_names, scalars, max_size=2),
    around=st.dictionaries(ecs_names, scalars, max_size=2),
)
@example(
    events=[("e", {"order_id": 1})] * 3 + [("e", {"order_id": "x"}), ("e", {"order_id": 2.5})],
    bound={"customer": "c"},
    around={"trace.id": "t"},
)
def test_ecs_documents_are_the_same_by_both_ways_whatever_came_before(events, bound, around):
    """A renderer learns from each event, so both see the same ones in the same order."""
    made = Ways(static={"service": "shop"}, ecs=True)
    found = []
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**around)
    try:
        for number, log in ((0, step_by_step), (2, None)):
            made.sink.clear()
            ACTIVE.pipeline = made.made[number][0]
            logger = BoundLogger(named_logger("x"), PROCESSORS, dict(bound))
            for event, call in events:
                if log is None:
                    logger.info(event, **call)
                else:
                    step_by_step(logger, INFO, "info", event, (), dict(call))
            found.append([record.line for record in made.sink.records])
    finally:
        structlog.contextvars.clear_contextvars()
        made.root.close(5)

    assert found[0] == found[1]
    assert len(found[0]) == len(events)


@pytest.mark.skipif(SPEED is None, reason="ECS has no lane in Python, but a quick way of its own")
def test_ecs_documents_take_the_lane_once_their_keys_are_known(monkeypatch):
    made = Ways(static={"service": "shop"}, ecs=True)
    ACTIVE.pipeline = made.made[2][0]
    structlog.contextvars.bind_contextvars(request="r")
    logger = BoundLogger(named_logger("x"), PROCESSORS, {"tenant": "north"})

    def log(number):
        logger.info("order placed", order_id=number, amount=2.5, paid=True)

    log(1)
    monkeypatch.setattr(ACTIVE, "emit", lambda *_: pytest.fail("step by step"))
    log(2)

    first, second = made.sink.events
    assert (first["order_id"], second["order_id"]) == (1, 2)
    same = {"order_id": 2, "@timestamp": second["@timestamp"]}
    assert {**first, **same} == second
    assert second["process.thread.name"] == "MainThread"
    assert list(second)[:4] == ["@timestamp", "log.level", "message", "ecs.version"]
    made.root.close(5)


@pytest.mark.skipif(SPEED is None, reason="ECS has no lane in Python, but a quick way of its own")
def test_an_ecs_document_that_is_too_long_is_shortened_on_the_lane_too():
    sink = MemorySink()
    root = LockedSink(sink, absorb=True)
    renderer = ECS(limits=DocumentLimits(max_line=2_000)).prepared()
    ACTIVE.pipeline = Pipeline(
        root, render=renderer.render, counts=PipelineCounts(), plain=renderer
    )
    logger = BoundLogger(named_logger("x"), PROCESSORS, {})
    for size in (10, 10, 5_000):
        logger.info("e", text="x" * size)

    assert all(len(record.line) <= 2_000 for record in sink.records)
    assert len(sink.records) == 3
    root.close(5)
