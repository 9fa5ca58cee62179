"""What failover makes of its arguments and of the errors of its alternatives: plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct.errors import (
    ConfigError,
    SinkError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks.base import BaseSink, ForeignSink, adopt, walk

if TYPE_CHECKING:
    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["adopt_all", "all_failed", "in_order", "raise_first", "reason"]

_REASON_MAX: Final = 500  # characters of somebody else's error message in a notice


def adopt_all(sinks: Sequence[Sink]) -> list[BaseSink]:
    """Validate the alternatives: sinks, at least one, none of them in the list twice."""
    if isinstance(sinks, str | bytes) or not isinstance(sinks, Sequence) or not sinks:
        msg = f"FailoverSink.sinks: {sinks!r} is no list of sinks; give at least one, best first"
        raise ConfigError(msg)
    children: list[BaseSink] = []
    seen: dict[int, int] = {}
    for position, sink in enumerate(sinks):
        child = adopt(sink, f"FailoverSink.sinks[{position}]")
        for part in walk(child):
            key = id(part.wrapped if isinstance(part, ForeignSink) else part)
            if seen.setdefault(key, position) != position:
                msg = (
                    f"FailoverSink.sinks[{position}]: {sink!r} is (or contains) a sink of"
                    f" sinks[{seen[key]}]; a sink cannot stand in for itself"
                )
                raise ConfigError(msg)
        children.append(child)
    return children


def reason(errors: dict[int, SinkError]) -> str:
    """Why the one that was tried last failed."""
    error = list(errors.values())[-1]
    return diagnostics.describe(error).removeprefix("pylog_struct.errors.")[:_REASON_MAX]


def all_failed(name: str, errors: dict[int, SinkError], unwritten: list[Record]) -> SinkError:
    text = f"{name}: every alternative failed; the last: {reason(errors)}"
    last = list(errors.values())[-1]
    hung = all(isinstance(error, SinkTimeoutError) for error in errors.values())
    failure = (SinkTimeoutError if hung else SinkUnavailableError)(text, unwritten)
    failure.__cause__ = last
    return failure


def in_order(batch: Sequence[Record], chosen: Sequence[Record]) -> list[Record]:
    """Return *chosen* in the order of *batch*; the same object may be in it several times."""
    left: dict[int, int] = {}
    for record in chosen:
        left[id(record)] = left.get(id(record), 0) + 1
    ordered: list[Record] = []
    for record in batch:
        if left.get(id(record), 0):
            left[id(record)] -= 1
            ordered.append(record)
    return ordered


def raise_first(errors: Sequence[Exception]) -> None:
    """Raise the first error, as a sink error, with the unwritten records of all."""
    if not errors:
        return
    first = errors[0]
    unwritten = [
        record for error in errors if isinstance(error, SinkError) for record in error.unwritten
    ]
    if isinstance(first, SinkError):
        first.unwritten = tuple(unwritten)
        raise first
    raise SinkUnavailableError(f"{type(first).__name__}: {first}", unwritten) from first
