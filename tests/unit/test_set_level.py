"""Levels at run time: bound, cached and stdlib loggers, by prefix, for a while."""

from __future__ import annotations

import logging
import threading

import pytest
import structlog
from support.events import memory_pipeline

import pylog_struct
from pylog_struct import ConfigError, LogManager
from pylog_struct.overrides import LevelControl
from pylog_struct.stdlib_bridge import BRIDGE
from pylog_struct.testing import FakeClock
from pylog_struct.thresholds import THRESHOLDS, NamedLogger, named_logger


def heard(sink, names, level="debug"):
    """Which of these loggers are heard at a level now, through both doors."""
    sink.clear()
    for name in names:
        getattr(structlog.get_logger(name), level)("s")
        getattr(logging.getLogger(name), level)("l")
    return [(event["logger"], event["event"]) for event in sink.events]


def test_a_level_reaches_bound_cached_and_stdlib_loggers():
    sink = memory_pipeline(level="INFO")
    bound = structlog.get_logger("app").bind(a=1)
    cached = structlog.get_logger("app")
    cached.debug("quiet")

    pylog_struct.set_level("DEBUG")
    bound.debug("1")
    cached.debug("2")
    logging.getLogger("app").debug("3")
    pylog_struct.set_level("ERROR")
    bound.info("4")
    cached.info("5")
    logging.getLogger("app").info("6")

    assert [event["event"] for event in sink.events] == ["1", "2", "3"]


def test_a_prefix_covers_the_names_below_it_and_no_others():
    sink = memory_pipeline(level="INFO")

    pylog_struct.set_level("DEBUG", "app.db")

    names = ["app", "app.db", "app.db.pool", "app.dbx"]
    assert heard(sink, names) == [
        ("app.db", "s"),
        ("app.db", "l"),
        ("app.db.pool", "s"),
        ("app.db.pool", "l"),
    ]


def test_a_prefix_can_be_quieter_than_the_rest():
    sink = memory_pipeline(level="DEBUG")

    pylog_struct.set_level("ERROR", "noisy")

    assert heard(sink, ["noisy", "noisy.sub", "x"]) == [("x", "s"), ("x", "l")]


def test_root_means_every_logger_without_a_level_of_its_own():
    sink = memory_pipeline(level="INFO")

    pylog_struct.set_level("DEBUG", "root")

    assert heard(sink, ["x"]) == [("x", "s"), ("x", "l")]


def test_with_a_duration_it_reverts_by_itself():
    sink = memory_pipeline(level="INFO")
    reverted = threading.Event()
    original = BRIDGE.apply

    def watching(level):
        original(level)
        if level == 20:
            reverted.set()

    BRIDGE.apply = watching
    try:
        pylog_struct.set_level("DEBUG", duration="200 ms")
        during = heard(sink, ["x"])
        assert reverted.wait(20)
    finally:
        del BRIDGE.apply

    assert during == [("x", "s"), ("x", "l")]
    assert heard(sink, ["x"]) == []


class TestDurations:
    @pytest.fixture
    def control(self):
        self.clock = FakeClock()
        THRESHOLDS.reset(20)
        control = LevelControl(None, self.clock)
        yield control
        control.close()

    def test_it_reverts_when_it_is_over_and_not_before(self, control):
        control.set(10, "app", 60.0)
        assert control.poll(0.0) == pytest.approx(60.0)
        self.clock.advance(59)
        control.poll(0.0)
        assert named_logger("app").level == 10
        self.clock.advance(1)

        assert control.poll(0.0) is None
        assert named_logger("app").level == 20

    def test_a_second_one_does_not_make_the_first_permanent(self, control):
        control.set(10, "", 60.0)
        self.clock.advance(30)
        control.set(40, "", 60.0)
        self.clock.advance(59)
        control.poll(0.0)
        assert named_logger("x").level == 40
        self.clock.advance(1)
        control.poll(0.0)

        assert named_logger("x").level == 20

    def test_one_without_a_duration_ends_the_pending_one(self, control):
        control.set(10, "app", 60.0)
        control.set(30, "app", None)
        self.clock.advance(100)
        control.poll(0.0)

        assert named_logger("app").level == 30

    def test_several_end_each_at_its_time(self, control):
        control.set(10, "a", 10.0)
        control.set(10, "b", 20.0)
        self.clock.advance(10)

        assert control.poll(0.0) == pytest.approx(10.0)
        assert (named_logger("a").level, named_logger("b").level) == (20, 10)

    def test_the_stdlibs_level_of_before_comes_back(self):
        memory_pipeline(level="INFO")
        clock = FakeClock()
        logger = logging.getLogger("test.own.level")
        logger.setLevel(logging.ERROR)
        control = LevelControl(BRIDGE, clock)
        try:
            control.set(10, "test.own.level", 5.0)
            assert logger.level == 10
            clock.advance(5)
            control.poll(0.0)
            assert logger.level == logging.ERROR
            control.set(10, "test.own.level", None)
            control.close()
            assert logger.level == logging.ERROR
        finally:
            logger.setLevel(logging.NOTSET)

    def test_in_the_child_of_a_fork_the_lock_is_new(self, control):
        control._lock.acquire()
        control._after_fork_in_child()
        done = threading.Thread(target=control.set, args=(10, "app", None))
        done.start()
        done.join(20)

        assert not done.is_alive()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("loud",), r"set_level\.level"),
        ((-5,), r"set_level\.level"),
        (("INFO", "x", 0), r"set_level\.duration"),
        (("INFO", "x", "soon"), r"set_level\.duration"),
        (("INFO", 5), r"set_level\.logger"),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(arguments, said):
    sink = memory_pipeline(level="INFO")

    with pytest.raises(ConfigError, match=said):
        LogManager.set_level(*arguments)

    assert heard(sink, ["x"]) == []
    assert heard(sink, ["x"], "info") == [("x", "s"), ("x", "l")]


def test_the_next_configuration_starts_with_its_own_level():
    memory_pipeline(level="INFO")
    pylog_struct.set_level("DEBUG", "app")
    pylog_struct.set_level("DEBUG")

    sink = memory_pipeline(level="INFO")

    assert heard(sink, ["app", "x"]) == []
    assert logging.getLogger("app").level == logging.NOTSET


def test_without_the_bridge_the_stdlibs_loggers_are_left_alone():
    memory_pipeline(level="INFO", stdlib=False)

    pylog_struct.set_level("DEBUG", "app")

    assert logging.getLogger("app").level == logging.NOTSET


class TestThresholds:
    def test_there_is_one_logger_for_a_name(self):
        import copy
        import pickle

        one = named_logger("x")

        assert named_logger("x") is one
        assert copy.copy(one) is one
        assert copy.deepcopy(one) is one
        assert pickle.loads(pickle.dumps(one)) is one
        assert repr(one) == "<NamedLogger 'x'>"
        assert isinstance(one, NamedLogger)

    def test_settings_can_be_taken_back(self):
        THRESHOLDS.reset(20)
        logger = named_logger("a.b")

        THRESHOLDS.set("a", 10)
        assert (logger.level, THRESHOLDS.get("a")) == (10, 10)
        THRESHOLDS.set("a", None)
        assert (logger.level, THRESHOLDS.get("a")) == (20, None)
        THRESHOLDS.set("", None)  # the root always has one
        assert logger.level == 20

    def test_it_answers_the_stdlibs_questions(self):
        THRESHOLDS.reset(30)

        assert not named_logger("x").isEnabledFor(20)
        assert named_logger("x").getEffectiveLevel() == 30
        assert not named_logger("x").disabled

    def test_who_cannot_have_the_lock_gets_a_second_logger_that_follows_the_first(
        self, monkeypatch
    ):
        monkeypatch.setattr("pylog_struct.thresholds._LOCK_WAIT", 0.01)
        THRESHOLDS.reset(20)
        held, done = threading.Event(), threading.Event()

        def hold():
            with THRESHOLDS._lock:
                held.set()
                done.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(20)
        try:
            second = named_logger("seldom.heard")
        finally:
            done.set()
            thread.join()
        first = named_logger("seldom.heard")
        THRESHOLDS.set("seldom", 40)

        assert first is not second
        assert (first.level, second.level) == (40, 40)

    def test_in_the_child_of_a_fork_the_lock_is_new(self):
        THRESHOLDS._lock.acquire()
        THRESHOLDS._after_fork_in_child()
        done = threading.Thread(target=named_logger, args=("fresh",))
        done.start()
        done.join(20)

        assert not done.is_alive()
