"""A server that logs a request's exception when the request is over still has what was bound."""

from __future__ import annotations

import logging

import pytest
import structlog
from support.events import memory_pipeline

from pylog_struct._exception_context import context_of, leave_context

server = logging.getLogger("server.error")


def raised(error, **values):
    with structlog.contextvars.bound_contextvars(**values):
        leave_context(error)
    return error


def test_the_servers_line_has_what_was_bound():
    sink = memory_pipeline()
    error = raised(ValueError("boom"), request_id="r-1", user="u-1")
    server.error("failed", exc_info=error, extra={"user": "its own"})
    (event,) = sink.events
    assert (event["request_id"], event["user"]) == ("r-1", "its own")
    assert event["exception"]["message"] == "boom"


def test_what_is_bound_now_goes_before():
    sink = memory_pipeline()
    error = raised(ValueError("boom"), request_id="r-1", tenant="t")
    with structlog.contextvars.bound_contextvars(request_id="r-2"):
        server.error("failed", exc_info=error)
    (event,) = sink.events
    assert (event["request_id"], event["tenant"]) == ("r-2", "t")


def test_the_last_one_that_left_something_stands():
    error = raised(raised(ValueError("boom"), request_id="r-1"), request_id="r-2")
    assert context_of(error) == {"request_id": "r-2"}


@pytest.mark.parametrize("explicit", [True, False])
def test_an_exception_raised_from_another_has_its_context(explicit):
    inner = raised(ValueError("boom"), request_id="r-1")
    outer = RuntimeError("around")
    outer.__cause__, outer.__context__ = (inner, None) if explicit else (None, inner)
    assert context_of(outer) == {"request_id": "r-1"}


def test_a_chain_without_end_is_walked_for_a_while():
    first, second = ValueError(), ValueError()
    first.__context__, second.__context__ = second, first
    assert context_of(first) == {}
    assert context_of(None) == {}
    first.__context__ = None


def test_an_exception_that_takes_no_attribute_is_left_as_it_is():
    class Closed(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    error = raised(Closed(), request_id="r-1")
    assert context_of(error) == {}
