"""Levels changed at run time, and changed back on time."""

from __future__ import annotations

import logging
import threading

import pytest

from pylog_struct._janitor import JANITOR
from pylog_struct.overrides import LevelControl
from pylog_struct.testing.clock import FakeClock
from pylog_struct.thresholds import THRESHOLDS, named_logger


class RecordingBridge:
    """Stands for the stdlib bridge: notes the root levels that it is told."""

    def __init__(self):
        self.levels = []
        self.told = threading.Event()

    def apply(self, level):
        self.levels.append(level)
        self.told.set()


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="bridge")
def _bridge():
    return RecordingBridge()


@pytest.fixture(name="control")
def _control(bridge, clock):
    saved = THRESHOLDS.save()
    THRESHOLDS.reset(20)
    control = LevelControl(bridge, clock)
    yield control
    control.close()
    THRESHOLDS.restore(saved)


def test_a_level_is_set_for_good(control, bridge, clock):
    logger = named_logger("test_overrides.db")
    control.set(10, "", None)
    assert (logger.level, bridge.levels) == (10, [10])
    control.set(40, "test_overrides", None)
    clock.advance(1e9)
    assert control.poll(0.0) is None
    assert logger.level == 40
    assert named_logger("other").level == 10


def test_with_a_duration_it_reverts_by_itself(control, clock):
    logger = named_logger("test_overrides.db")
    control.set(10, "test_overrides", 60.0)
    assert logger.level == 10
    clock.advance(59.0)
    assert control.poll(0.0) == pytest.approx(1.0)
    assert logger.level == 10
    clock.advance(1.0)
    assert control.poll(0.0) is None
    assert logger.level == 20
    assert THRESHOLDS.get("test_overrides") is None


def test_a_prefix_that_had_a_level_gets_it_back(control, clock):
    control.set(30, "test_overrides", None)
    control.set(10, "test_overrides", 5.0)
    clock.advance(5.0)
    control.poll(0.0)
    assert THRESHOLDS.get("test_overrides") == 30


def test_the_root_gets_its_level_back_and_the_bridge_is_told(control, bridge, clock):
    control.set(10, "", 5.0)
    clock.advance(5.0)
    control.poll(0.0)
    assert THRESHOLDS.effective("") == 20
    assert bridge.levels == [10, 20]


@pytest.mark.parametrize("last", ["shorter", "longer"])
def test_a_second_override_keeps_the_level_before_the_first(control, clock, last):
    control.set(30, "test_overrides", None)
    control.set(10, "test_overrides", 60.0)
    control.set(40, "test_overrides", 5.0 if last == "shorter" else 600.0)
    clock.advance(5.0)
    control.poll(0.0)
    assert THRESHOLDS.get("test_overrides") == (30 if last == "shorter" else 40)
    clock.advance(600.0)
    assert control.poll(0.0) is None
    assert THRESHOLDS.get("test_overrides") == 30


def test_a_level_for_good_ends_an_override(control, clock):
    control.set(10, "test_overrides", 5.0)
    control.set(40, "test_overrides", None)
    clock.advance(5.0)
    assert control.poll(0.0) is None
    assert THRESHOLDS.get("test_overrides") == 40


def test_prefixes_revert_apart_from_each_other(control, clock):
    control.set(10, "test_overrides.a", 5.0)
    control.set(10, "test_overrides.b", 8.0)
    assert control.poll(0.0) == pytest.approx(5.0)
    clock.advance(5.0)
    assert control.poll(0.0) == pytest.approx(3.0)
    assert (THRESHOLDS.get("test_overrides.a"), THRESHOLDS.get("test_overrides.b")) == (None, 10)


def test_the_name_of_the_root_logger_means_the_root(control, bridge):
    before = logging.getLogger().level
    control.set(40, "root", None)
    assert (named_logger().level, named_logger("test_overrides").level) == (40, 40)
    assert bridge.levels == [40]
    assert logging.getLogger().level == before


def test_time_of_day_does_not_matter(control, clock):
    control.set(10, "test_overrides", 60.0)
    clock.set_time(clock.time() + 1e6)
    assert control.poll(0.0) == pytest.approx(60.0)


# -- the stdlib's loggers -------------------------------------------------------------------------


@pytest.fixture(name="stdlib")
def _stdlib():
    logger = logging.getLogger("test_overrides.stdlib")
    logger.setLevel(35)
    yield logger
    logger.setLevel(logging.NOTSET)


def test_stdlib_loggers_follow_and_get_their_own_level_back(control, clock, stdlib):
    control.set(10, stdlib.name, 5.0)
    assert stdlib.level == 10
    clock.advance(5.0)
    control.poll(0.0)
    assert stdlib.level == 35


def test_several_changes_remember_the_stdlib_loggers_first_level(control, stdlib):
    control.set(10, stdlib.name, None)
    control.set(50, stdlib.name, None)
    assert stdlib.level == 50
    control.close()
    assert stdlib.level == 35


def test_close_forgets_what_is_pending(control, clock, stdlib):
    control.set(10, "test_overrides.x", 5.0)
    control.set(10, stdlib.name, 5.0)
    control.close()
    control.close()
    stdlib.setLevel(36)
    clock.advance(10.0)
    assert control.poll(0.0) is None
    assert THRESHOLDS.get("test_overrides.x") == 10
    assert stdlib.level == 36


def test_without_a_bridge_the_stdlib_is_left_alone(clock, stdlib):
    saved = THRESHOLDS.save()
    control = LevelControl(None, clock)
    try:
        control.set(10, stdlib.name, None)
        control.set(10, "", None)
        assert stdlib.level == 35
        assert named_logger(stdlib.name).level == 10
    finally:
        control.close()
        THRESHOLDS.restore(saved)


# -- by itself ------------------------------------------------------------------------------------


def test_nobody_has_to_call_poll(control, bridge, clock):
    control.set(10, "", 0.05)
    bridge.told.clear()
    clock.advance(0.05)
    assert bridge.told.wait(20)
    assert THRESHOLDS.effective("") == 20


def test_the_child_of_a_fork_has_a_lock_of_its_own_and_the_same_moment(control, clock):
    control.set(10, "test_overrides", 60.0)
    with control._lock:
        held = control._lock
        control._after_fork_in_child()
    assert control._lock is not held
    clock.advance(60.0)
    control.poll(0.0)
    assert THRESHOLDS.get("test_overrides") is None


def test_what_is_reverted_is_not_polled_any_more(control, clock):
    control.set(10, "test_overrides", 5.0)
    clock.advance(5.0)
    control.poll(0.0)
    assert control not in JANITOR._polls
