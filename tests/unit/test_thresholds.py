"""Levels by logger name: prefixes, one object a name, and changes that reach all of them."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct.thresholds import ROOT_NAME, THRESHOLDS, NamedLogger, Thresholds, named_logger

_PARTS = st.sampled_from(["app", "db", "web", "a", ""])
_NAMES = st.lists(_PARTS, min_size=1, max_size=4).map(".".join)
_LEVELS = st.sampled_from([0, 10, 20, 30, 40, 50])


def _model(settings, name):
    """The longest prefix that is the name itself or ends at one of its dots."""
    fitting = [
        prefix
        for prefix in settings
        if prefix and name != ROOT_NAME and (name == prefix or name.startswith(prefix + "."))
    ]
    return settings[max(fitting, key=len, default="")]


@given(
    st.lists(st.tuples(_NAMES, st.none() | _LEVELS), max_size=12),
    st.lists(_NAMES, max_size=6),
    _LEVELS,
)
def test_effective_levels_are_those_of_a_simple_model(changes, names, root):
    thresholds = Thresholds()
    thresholds.set("", root)
    settings = {"": root}
    loggers = [thresholds.logger(name) for name in names]
    for prefix, level in changes:
        thresholds.set(prefix, level)
        if level is not None:
            settings[prefix] = level
        elif prefix:
            settings.pop(prefix, None)
        for logger in loggers:
            assert (
                logger.level == thresholds.effective(logger.name) == _model(settings, logger.name)
            )
    assert thresholds.save() == settings


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("app", 10),
        ("app.db", 40),
        ("app.db.pool", 40),
        ("app.dbx", 10),
        ("application", 30),
        ("ap", 30),
        ("db", 30),
        ("", 30),
    ],
)
def test_a_prefix_ends_at_a_dot_and_the_longest_wins(name, level):
    thresholds = Thresholds()
    thresholds.set("", 30)
    thresholds.set("app", 10)
    thresholds.set("app.db", 40)
    assert thresholds.effective(name) == level
    assert thresholds.logger(name).level == level


def test_everything_passes_until_a_level_is_set():
    assert Thresholds().logger("app").level == 0


def test_taking_a_setting_back_uncovers_the_one_below():
    thresholds = Thresholds()
    thresholds.set("", 20)
    thresholds.set("app", 30)
    thresholds.set("app.db", 40)
    logger = thresholds.logger("app.db.pool")
    thresholds.set("app.db", None)
    assert logger.level == 30
    assert thresholds.get("app.db") is None
    thresholds.set("app", None)
    thresholds.set("never.set", None)
    assert logger.level == 20
    thresholds.set("", None)
    assert logger.level == 20


def test_a_logger_without_a_name_has_the_roots_level():
    thresholds = Thresholds()
    thresholds.set("", 40)
    thresholds.set(ROOT_NAME, 10)  # no prefix of anything, as in the stdlib
    assert thresholds.logger(ROOT_NAME).level == 40
    assert named_logger().name == ROOT_NAME == "root"


def test_reset_and_restore_reach_existing_loggers():
    thresholds = Thresholds()
    logger = thresholds.logger("app.db")
    thresholds.reset(20)
    thresholds.set("app", 50)
    saved = thresholds.save()
    thresholds.reset(30)
    assert logger.level == 30
    assert thresholds.get("app") is None
    thresholds.restore(saved)
    assert logger.level == 50
    saved["app"] = 0
    assert thresholds.get("app") == 50


def test_a_name_has_one_logger_for_as_long_as_somebody_uses_it():
    thresholds = Thresholds()
    logger = thresholds.logger("app")
    assert thresholds.logger("app") is logger
    assert thresholds.logger("app.db") is not logger
    del logger
    gc.collect()
    assert thresholds.logger("app").level == 0
    assert len(thresholds._loggers) <= 1


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda logger: pickle.loads(pickle.dumps(logger))]
)
def test_a_copy_of_a_logger_is_the_logger(duplicate):
    logger = named_logger("test_thresholds.copied")
    assert duplicate(logger) is logger
    assert duplicate([logger])[0] is logger
    assert repr(logger) == "<NamedLogger 'test_thresholds.copied'>"


def test_a_logger_is_small_and_takes_no_other_attribute():
    logger = NamedLogger("x", 10)
    with pytest.raises(AttributeError):
        logger.other = 1


def test_threads_get_one_logger_and_see_the_last_level():
    thresholds = Thresholds()
    barrier = threading.Barrier(8)
    found = []

    def work(number):
        barrier.wait()
        for step in range(200):
            found.append(thresholds.logger(f"app.{step % 20}"))
            thresholds.set("app", 10 + number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    thresholds.set("app", 40)
    assert len({id(logger) for logger in found}) == 20
    assert {logger.level for logger in found} == {40}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_a_thread_has_the_lock_does_not_lock_the_child():
    with THRESHOLDS._lock:
        before = THRESHOLDS._lock
        THRESHOLDS._after_fork_in_child()
    assert THRESHOLDS._lock is not before
    assert named_logger("test_thresholds.child").level == THRESHOLDS.effective(
        "test_thresholds.child"
    )


def test_a_logger_can_be_asked_as_those_of_the_stdlib_can():
    thresholds = Thresholds()
    logger = thresholds.logger("app")
    thresholds.set("app", 30)
    assert [logger.isEnabledFor(level) for level in (20, 30, 40)] == [False, True, True]
