"""The way of a plain event in one function: the same line as step by step, at a fraction of the price.

Most events have a text and a few fields of builtin types.  For those everything that can be decided
is decided before: per pipeline (keys that clash, ``service``), per second (the time's text), per
logger and level (its part of the line), per bound logger (its values, if they cannot change).  What
is left is one call of the encoder for the event, one for the call's fields, and one ``join``.

Whatever is not plain, or fails in any way, goes step by step instead, from the start: nothing has
happened yet by then.  ``tests/property/test_fast_lane.py`` holds both ways side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from pylog_struct.active import ACTIVE
from pylog_struct.processors.callsite import Callsite
from pylog_struct.processors.json_renderer import NotPlainError, PlainCopy
from pylog_struct.processors.sequence import SequenceNumber
from pylog_struct.processors.timestamps import TimestampSource, format_timestamp
from pylog_struct.record import Record
from pylog_struct.structlog_context import CONTEXT_VARIABLES, current_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from structlog.typing import Processor

    from pylog_struct.bound_logger import BoundLogger
    from pylog_struct.pipeline import Pipeline
    from pylog_struct.processors.limits import Limits

__all__ = ["NO_LANE", "FastLane", "Lane", "Starts", "make_fast_lane"]

Starts = dict[str | None, bytes]
"""From the level to the event, by event; under None all but the event."""

Lane = tuple[object, dict[str, Starts], bytes, frozenset[str]]
"""What one bound logger has ready for one pipeline: whose it is; by level's name the starts; the bound
values as members of an object; all keys that a call's fields must not have."""

NO_LANE: Final[Lane] = (None, {}, b"", frozenset())

_SECOND: Final = 1_000_000_000
_THREE: Final = tuple(b"%03d" % number for number in range(1000))
_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_SPECIAL: Final = frozenset({"exc_info", "stack_info"})
_FIELDS_MAX: Final = (
    256  # so many, each of at most _ITEMS_MAX items, stay below every bound on numbers
)
_ITEMS_MAX: Final = 32
_TEXT_MAX: Final = 8192  # characters: longer ones are counted, step by step
_EVENTS_MAX: Final = 64  # texts remembered for one logger and level, and their length
_EVENT_LENGTH: Final = 128
_QUICK: Final = (Callsite, SequenceNumber)


class FastLane(NamedTuple):
    """What takes the plain events of one pipeline."""

    owner: object
    """What ``ACTIVE.owner`` is while it may be used."""
    method: Callable[[int, str], Callable[..., None]]
    """Makes the method of ``BoundLogger`` for a level and its name."""


def make_fast_lane(
    pipeline: Pipeline,
    *,
    limits: Limits,
    static: Mapping[str, Any],
    reserved: Iterable[str],
    processors: Sequence[Processor],
    timestamps: TimestampSource,
) -> FastLane | None:
    """Return the fast lane of *pipeline*, or None if its configuration leaves no room for one.

    Args:
        pipeline: Takes what is rendered.
        limits: Those of the JSON renderer.
        static: Fields that every event has.
        reserved: Keys whose values move elsewhere.
        processors: Those of the configuration; only ours can be passed over.
        timestamps: Where the times come from.
    """
    if not all(type(processor) in _QUICK for processor in processors):
        return None
    try:
        fixed = _inside(dict(static), limits)
    except Exception:  # a service with something odd in it
        return None
    owner = object()
    adders = [processor.adder() for processor in processors]  # type: ignore[attr-defined]
    added = frozenset(key for processor in processors for key in processor.keys)  # type: ignore[attr-defined]
    never = frozenset(reserved) | static.keys() | _SPECIAL | added
    longest = min(limits.max_string, limits.max_text // 2)
    dumps, join, new = orjson.dumps, b"".join, tuple.__new__
    now, steady = timestamps.read, timestamps.steady
    levels = limits.max_depth - 1
    active, overdue, bound_variables = ACTIVE, ACTIVE.overdue, CONTEXT_VARIABLES
    buffer: Any
    buffer, append, handle, ring = pipeline.entrance()
    straight = pipeline.straight()
    last = timestamps.last
    second: tuple[int, bytes] = (0, b"")

    def lane_of(logger: BoundLogger) -> Lane:
        """Make ready what *logger* needs.

        Raises:
            Exception: its events are not plain.
        """
        named, context = logger._logger, logger._context
        if not logger.is_ours or any(map(_may_change, context.values())):
            raise NotPlainError
        if not never.isdisjoint(context):
            raise NotPlainError
        of_whom, starts = named.starts
        if of_whom is not owner:
            about = dumps(named.name)
            starts = {
                level: {None: b'Z","level":"%b","logger":%b,"event":' % (level.encode(), about)}
                for level in _LEVELS
            }
            named.starts = (owner, starts)
        lane = (owner, starts, fixed + _inside(context, limits), never | context.keys())
        logger._lane = lane
        return lane

    def method(level: int, name: str) -> Callable[..., None]:
        """Return the method of ``BoundLogger`` for one level."""

        def log(self: BoundLogger, event: Any = None, /, *args: Any, **fields: Any) -> None:
            nonlocal second
            if level < self._logger.level:
                return
            if active.owner is not owner:  # somebody kept the method of an earlier configuration
                active.emit(self, level, name, event, args, fields)
                return
            moment = now()
            if moment < last[0]:
                moment = steady(moment)
            else:
                last[0] = moment
            if args or type(event) is not str or overdue:
                active.emit(self, level, name, event, args, fields, moment)
                return
            try:
                of_whom, starts, values, taken = self._lane
                if of_whom is not owner:
                    _, starts, values, taken = lane_of(self)
                known = starts[name]
                start = known.get(event)
                if start is None:
                    if len(event) > _TEXT_MAX:
                        raise NotPlainError
                    start = known[None] + dumps(event)
                    if len(event) <= _EVENT_LENGTH and len(known) <= _EVENTS_MAX:
                        known[event] = start
                if bound_variables and (around := current_context()):
                    if not (taken.isdisjoint(around) and fields.keys().isdisjoint(around)):
                        raise NotPlainError
                    values = b"%b%b%b" % (fixed, _inside(around, limits), values[len(fixed) :])
                if fields:
                    if not taken.isdisjoint(fields) or len(fields) > _FIELDS_MAX:
                        raise NotPlainError
                    for key, value in fields.items():
                        kind = type(value)
                        if kind is str:
                            if len(value) > _TEXT_MAX:
                                raise NotPlainError
                        elif kind is int or kind is float or kind is bool or value is None:
                            pass
                        elif kind is list and len(value) <= _ITEMS_MAX:
                            fields[key] = copy = value[:]
                            for item in copy:
                                inner = type(item)
                                if inner is str:
                                    if len(item) > _TEXT_MAX:
                                        raise NotPlainError
                                elif inner is not int:
                                    raise NotPlainError
                        else:
                            fields[key] = PlainCopy(limits).value(value, kind, levels)
                begin, head = second
                rest = moment - begin
                if not 0 <= rest < _SECOND:
                    begin = moment - moment % _SECOND
                    head = b'{"timestamp":"%b' % format_timestamp(begin)[:-7].encode()
                    second = begin, head
                    rest = moment - begin
                micros = rest // 1000
                if adders:
                    values += b",%b" % dumps(fields)[1:-1] if fields else b""
                    line = join((
                        head, _THREE[micros // 1000], _THREE[micros % 1000], start, values,
                        *[add() for add in adders], b"}",
                    ))  # fmt: skip
                elif fields:
                    line = join((
                        head, _THREE[micros // 1000], _THREE[micros % 1000], start, values,
                        b",", dumps(fields)[1:],
                    ))  # fmt: skip
                else:
                    line = join((
                        head, _THREE[micros // 1000], _THREE[micros % 1000], start, values, b"}",
                    ))  # fmt: skip
                size = len(line)
                if size > longest:
                    raise NotPlainError
            except Exception:
                line = b""
            if not line:  # not in the handler: there exc_info=True would mean NotPlainError
                active.emit(self, level, name, event, args, fields, moment)
                return
            try:
                if straight is not None and straight(level, line, moment):
                    return
                record = new(Record, (level, line, moment / 1e9))
                if buffer is None:
                    pipeline._put(record)
                # The steps of QueueSink.make_put; no call from here to the append.
                elif buffer.size >= buffer.limit or buffer.bytes + size > buffer.byte_limit:
                    handle(record)
                else:
                    buffer.size += 1
                    buffer.bytes += size
                    append(record)
                    if buffer.size >= buffer.wake_size or buffer.bytes >= buffer.wake_bytes:
                        ring()
            except Exception as error:
                pipeline.not_delivered(Record(level, line, moment / 1e9), error)

        return log

    return FastLane(owner, method)


def _may_change(value: object) -> bool:
    """Whether a bound value may be another at the next call; a text is good for ever."""
    return type(value) not in {str, int, float, bool, type(None)}


def _inside(fields: dict[str, Any], limits: Limits) -> bytes:
    """Return *fields* as members of an object, each after a comma; nothing if there are none.

    Raises:
        Exception: something in it is not plain.
    """
    if not fields:
        return b""
    line = orjson.dumps(PlainCopy(limits).object(fields, limits.max_depth))
    if len(line) > limits.max_string:
        raise NotPlainError
    return b",%b" % line[1:-1]
