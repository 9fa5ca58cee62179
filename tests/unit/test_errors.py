"""The error tree: what an error says, and that it survives a process boundary."""

from __future__ import annotations

import copy
import pickle

import pytest

from pylog_struct import errors
from pylog_struct.errors import (
    ConfigError,
    PylogError,
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.record import Record

_SINK_ERRORS = {
    SinkError: True,
    SinkUnavailableError: True,
    SinkTimeoutError: True,
    SinkRejectedError: False,
    SinkClosedError: False,
}


def test_every_error_is_a_pylog_error():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), PylogError)
    assert issubclass(ConfigError, ValueError)
    assert not issubclass(SinkError, ValueError)


@pytest.mark.parametrize(("kind", "retryable"), _SINK_ERRORS.items())
def test_the_class_decides_about_trying_again_unless_told(kind, retryable):
    assert kind("x").retryable is retryable
    assert kind("x", retryable=not retryable).retryable is not retryable
    assert kind("x").unwritten == ()


def test_unwritten_keeps_the_order_and_is_not_the_callers_list():
    batch = [Record(20, b"a"), Record(20, b"b")]
    error = SinkError("down", batch)
    batch.clear()
    assert error.unwritten == (Record(20, b"a"), Record(20, b"b"))
    assert str(error) == "down"


@pytest.mark.parametrize("kind", _SINK_ERRORS)
@pytest.mark.parametrize("duplicate", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copied_or_pickled_error_still_says_what_is_unwritten(kind, duplicate):
    error = duplicate(kind("down", [Record(40, b"x", 1.5)], retryable=True))
    assert type(error) is kind
    assert (str(error), error.unwritten, error.retryable) == (
        "down",
        (Record(40, b"x", 1.5),),
        True,
    )
