"""strict=True, for tests: what is contained otherwise comes through to the log call."""

from __future__ import annotations

import asyncio
import logging

import pytest
import structlog
from support.events import memory_pipeline, only_the_bridge

import pylog_struct
from pylog_struct import SinkError
from pylog_struct.active import ACTIVE
from pylog_struct.sinks import MemorySink, QueueSink


class Unrepresentable:
    def __repr__(self):
        raise RuntimeError("no repr")


# Goes step by step: plain events have a lane of their own, which is bound to its sink beforehand.
ODD = object


DOORS = {
    "structlog": lambda value: structlog.get_logger().info("x", value=value),
    "structlog async": lambda value: structlog.get_logger().ainfo("x", value=value),
    "stdlib": lambda value: logging.getLogger("x").info("x", extra={"value": value}),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_value_that_cannot_be_shown(door):
    memory_pipeline(strict=True)
    only_the_bridge()

    with pytest.raises(TypeError, match="Unrepresentable"):
        DOORS[door](Unrepresentable())


@pytest.mark.parametrize("door", DOORS)
def test_the_same_without_strict_arrives_and_is_counted(door):
    sink = memory_pipeline()
    only_the_bridge()

    DOORS[door](Unrepresentable())

    assert "unrepresentable" in sink.events[0]["value"]
    assert ACTIVE.pipeline.counts.read()[1] == {"sanitise": 1}


def test_an_async_call_through_a_queue():
    def fails(*_):
        raise KeyError("mine")

    pylog_struct.configure(sink=QueueSink(MemorySink()), processors=[fails], strict=True)

    async def scenario():
        await structlog.get_logger().ainfo("x")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(scenario())


def test_no_stack_left(monkeypatch):
    memory_pipeline(strict=True)

    def exhausted(*args):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(ACTIVE.pipeline, "put", exhausted)
    with pytest.raises(RecursionError):
        structlog.get_logger().info("x", value=ODD)
    monkeypatch.setattr(ACTIVE.pipeline, "_render", exhausted)
    with pytest.raises(RecursionError):
        structlog.get_logger().info("x", value=ODD)


def test_a_root_that_fails():
    memory_pipeline(strict=True)

    def refuse(record):
        raise SinkError("down", (record,))

    ACTIVE.pipeline.put = refuse
    with pytest.raises(SinkError, match="down"):
        structlog.get_logger().info("x", value=ODD)
