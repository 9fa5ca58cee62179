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
from pylog_struct.processors import Callsite, SequenceNumber
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

    def __init__(self, *, processors=(), limits=None, static=None, queued=False):
        self.sink = MemorySink()
        self.root = QueueSink(self.sink) if queued else LockedSink(self.sink, absorb=True)
        limits = limits or Limits()
        clock = FakeClock(time=1_700_000_000.123456)
        self.made = []
        for _ in range(3):  # each its own, for the processors that count
            own = tuple(make() for make in processors)
            times = TimestampSource(clock)
            pipeline = Pipeline(
                self.root,
                render=JSONRenderer(limits=limits).render,
                counts=PipelineCounts(),
                processors=own,
                static=static,
                timestamps=times,
                plain=limits,
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
