"""What all front ends have in common: a request's context ends, in whatever context that happens."""

from __future__ import annotations

import contextvars

import structlog
from support.events import memory_pipeline

from pylog_struct import diagnostics
from pylog_struct.web._request.exchange import RequestCore


def test_a_request_that_ends_in_another_context_leaves_that_one_alone(capsys):
    sink = memory_pipeline()
    core = RequestCore("Front", {})
    context = contextvars.copy_context()
    exchange = context.run(core.begin)
    structlog.contextvars.bind_contextvars(request_id="another")
    core.leave(exchange)
    assert structlog.contextvars.get_contextvars() == {"request_id": "another"}
    assert "a request ended in another context" in capsys.readouterr().err
    diagnostics.reset()
    assert sink.events[0]["status"] == 500  # nobody said anything else


def test_the_event_is_written_once_however_often_it_ends():
    sink = memory_pipeline()
    core = RequestCore("Front", {})
    exchange = core.begin()
    exchange.status = 200
    core.finish(exchange)
    core.finish(exchange)
    core.leave(exchange)
    assert [event["status"] for event in sink.events] == [200]
    assert structlog.contextvars.get_contextvars() == {}


def test_a_front_end_can_exclude_a_request_itself():
    sink = memory_pipeline()
    core = RequestCore("Front", {})
    exchange = core.begin()
    exchange.excluded = True
    core.leave(exchange)
    assert sink.events == []
