"""The event that every contestant logs, in the ways of calling that there are.

Ten keys: a time and a level, which the logger adds, and eight fields of the application: three texts, two
integers, a float, a bool and a list.  ``emit(number)`` logs one event; it is a Python function of
its own in every contestant, so that what calling it costs is the same for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Emit = Callable[[int], object]

FIELDS = 8  # event, order_id, customer, route, status, duration_ms, cached, items
SHORT = 100  # bytes: below this, an event has no room for a text of its own


def by_keywords(logger: Any) -> Emit:
    """structlog's way, and loguru's."""

    def emit(number: int) -> None:
        logger.info(
            "order placed",
            order_id=number,
            customer="c-1042",
            route="/orders/{id}",
            status=201,
            duration_ms=12.5,
            cached=False,
            items=["a1", "b2", "c3"],
        )

    return emit


def by_extra(logger: Any) -> Emit:
    """The standard library's way."""

    def emit(number: int) -> None:
        logger.info(
            "order placed",
            extra={
                "order_id": number,
                "customer": "c-1042",
                "route": "/orders/{id}",
                "status": 201,
                "duration_ms": 12.5,
                "cached": False,
                "items": ["a1", "b2", "c3"],
            },
        )

    return emit


def by_dict(logger: Any) -> Emit:
    """The message is a dict: for loggers that drop ``extra``."""

    def emit(number: int) -> None:
        logger.info(
            {
                "event": "order placed",
                "order_id": number,
                "customer": "c-1042",
                "route": "/orders/{id}",
                "status": 201,
                "duration_ms": 12.5,
                "cached": False,
                "items": ["a1", "b2", "c3"],
            }
        )

    return emit


def by_hand(write: Callable[[bytes], object], now: Callable[[], object]) -> Emit:
    """No logger: a dict, orjson, and *write*."""
    import orjson

    dumps, line = orjson.dumps, orjson.OPT_APPEND_NEWLINE

    def emit(number: int) -> None:
        write(
            dumps(
                {
                    "timestamp": now(),
                    "level": "info",
                    "event": "order placed",
                    "order_id": number,
                    "customer": "c-1042",
                    "route": "/orders/{id}",
                    "status": 201,
                    "duration_ms": 12.5,
                    "cached": False,
                    "items": ["a1", "b2", "c3"],
                },
                option=line,
            )
        )

    return emit


def text_by_keywords(logger: Any, text: str) -> Emit:
    """An event whose size is that of its text."""
    return lambda number: logger.info("order placed", order_id=number, text=text)


def text_by_extra(logger: Any, text: str) -> Emit:
    """The same, in the standard library's way."""
    return lambda number: logger.info("order placed", extra={"order_id": number, "text": text})


def text_by_dict(logger: Any, text: str) -> Emit:
    """The same, with a dict as the message."""
    return lambda number: logger.info({"event": "order placed", "order_id": number, "text": text})


def text_by_hand(write: Callable[[bytes], object], text: str) -> Emit:
    """The same, without a logger."""
    import orjson

    dumps, line = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    now = time.time
    return lambda number: write(
        dumps(
            {
                "timestamp": now(),
                "level": "info",
                "event": "order placed",
                "order_id": number,
                "text": text,
            },
            option=line,
        )
    )
