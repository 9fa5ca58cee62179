"""The fast lane in Python: for interpreters and machines that have nothing compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct.active import ACTIVE
from pylog_struct.fast_lane import FIELDS_MAX, ITEMS_MAX, LEVEL_NAMES
from pylog_struct.processors.json_renderer import NotPlainError, PlainCopy
from pylog_struct.record import Record
from pylog_struct.structlog_context import CONTEXT_VARIABLES, current_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.bound_logger import BoundLogger
    from pylog_struct.fast_lane import Pieces, Prepared

__all__ = ["PythonLane"]

_SECOND: Final = 1_000_000_000
_THREE: Final = tuple(b"%03d" % number for number in range(1000))
_TEXT_MAX: Final = 8192


class PythonLane:
    """Makes the methods of the bound logger; see :class:`pylog_struct.fast_lane.FastLane`."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self.active = False

    def prepare(self, logger: BoundLogger) -> Prepared:
        """Make ready what *logger* needs.

        Raises:
            Exception: its events are not plain.
        """
        if not logger.is_ours:
            raise NotPlainError
        pieces = self._pieces
        members, keys = pieces.bound(logger._context)
        starts = dict(zip(LEVEL_NAMES, pieces.starts(logger._logger), strict=True))
        made = (self, starts, pieces.fixed + members, pieces.never | keys)
        logger._lane = made
        return made

    def method(self, level: int, name: str) -> Callable[..., None]:
        """Return the method of ``BoundLogger`` for one level."""
        pieces = self._pieces
        pipeline, limits, timestamps = pieces.pipeline, pieces.limits, pieces.timestamps
        adders = [processor.adder(2) for processor in pieces.processors]
        fixed, longest, levels = pieces.fixed, pieces.longest, limits.max_depth - 1
        dumps, join, new = orjson.dumps, b"".join, tuple.__new__
        now, steady, last = timestamps.read, timestamps.steady, timestamps.last
        active, overdue, bound_variables = ACTIVE, ACTIVE.overdue, CONTEXT_VARIABLES
        buffer: Any
        buffer, append, handle, ring = pipeline.entrance()
        straight = pipeline.straight()
        second: tuple[int, bytes] = (0, b"")

        def log(self_: BoundLogger, event: Any = None, /, *args: Any, **fields: Any) -> None:
            nonlocal second
            if level < self_._logger.level:
                return
            if not self.active:  # somebody kept the method of an earlier configuration
                active.emit(self_, level, name, event, args, fields)
                return
            moment = now()
            if moment < last[0]:
                moment = steady(moment)
            else:
                last[0] = moment
            if args or type(event) is not str or overdue:
                active.emit(self_, level, name, event, args, fields, moment)
                return
            size = 0
            try:
                mine = self_._lane
                if mine[0] is not self:
                    mine = self.prepare(self_)
                _, starts, values, taken = mine
                known = starts[name]
                start = known.get(event)
                if start is None:
                    start = pieces.start(known, event)
                if bound_variables and (around := current_context()):
                    if not (taken.isdisjoint(around) and fields.keys().isdisjoint(around)):
                        raise NotPlainError
                    values = b"%b%b%b" % (fixed, pieces.members(around), values[len(fixed) :])
                if fields:
                    if not taken.isdisjoint(fields) or len(fields) > FIELDS_MAX:
                        raise NotPlainError
                    copier = None
                    for key, value in fields.items():
                        kind = type(value)
                        if kind is str:
                            if len(value) > _TEXT_MAX:
                                raise NotPlainError
                        elif kind is int or kind is float or kind is bool or value is None:
                            pass
                        elif kind is list and len(value) <= ITEMS_MAX:
                            copy = value[:]
                            for item in copy:
                                inner = type(item)
                                if inner is str:
                                    if len(item) > _TEXT_MAX:
                                        raise NotPlainError
                                elif inner is not int:
                                    raise NotPlainError
                            fields[key] = copy  # now: a list that holds itself must stay that one
                        else:
                            if copier is None:
                                copier = PlainCopy(limits)
                            fields[key] = copier.value(value, kind, levels)
                begin, head = second
                rest = moment - begin
                if not 0 <= rest < _SECOND:
                    begin = moment - moment % _SECOND
                    head = pieces.head(begin)
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
                active.emit(self_, level, name, event, args, fields, moment)
                return
            try:
                if straight is not None and straight(level, line, moment):
                    return
                record = new(Record, (level, line, moment / 1e9))
                if buffer is None:
                    pipeline.put(record)
                # The steps of RecordBuffer.offer; no call from here to the append.
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
