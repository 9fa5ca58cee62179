"""Loggers that structlog made before ``configure`` are found among all objects there are."""

from __future__ import annotations

import structlog
from support.events import memory_pipeline

from pylog_struct.bound_logger import BoundLogger


class Unhashable(type):
    """Its classes compare as they like."""

    def __eq__(cls, other):
        raise AssertionError("a class was compared")

    __hash__ = None


class TakesAnything(type):
    """Its classes say that everybody is one of them."""

    def __subclasscheck__(cls, other):
        return True

    def __instancecheck__(cls, other):
        return True


def test_whatever_classes_a_program_has():
    crowd = [Unhashable("Odd", (), {})(), TakesAnything("Greedy", (), {})(), Unhashable, object()]
    before = structlog.get_logger("early").bind(a=1)
    mine = structlog.get_logger("mine").bind(b=2)
    assert not isinstance(before, BoundLogger)

    sink = memory_pipeline()

    assert type(before) is type(mine) is BoundLogger
    before.info("one %s", "text")
    mine.info("two")
    assert [(event["event"], event.get("a"), event.get("b")) for event in sink.events] == [
        ("one text", 1, None),
        ("two", None, 2),
    ]
    assert len(crowd) == 4


def test_loggers_of_another_configuration_stay_what_they_are():
    processors = [lambda _logger, _method, event: str(event)]
    other = structlog.wrap_logger(structlog.ReturnLogger(), processors=processors).bind(c=3)

    memory_pipeline()

    assert not isinstance(other, BoundLogger)
    assert other.info("three") == "{'c': 3, 'event': 'three'}"
