"""The fast lane by the compiled module: ``native/lane.c`` has the steps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import orjson

from pylog_struct._compiled import SPEED
from pylog_struct.active import ACTIVE
from pylog_struct.fast_lane import NotYetPlainError
from pylog_struct.processors.callsite import Callsite
from pylog_struct.record import Record
from pylog_struct.structlog_context import CONTEXT_VARIABLES

if TYPE_CHECKING:
    from pylog_struct.bound_logger import BoundLogger
    from pylog_struct.fast_lane import Pieces, Prepared

__all__ = ["CompiledLane"]


class CompiledLane:
    """Hands the pieces to the compiled module; see :class:`pylog_struct.fast_lane.FastLane`."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        pipeline, limits, timestamps = pieces.pipeline, pieces.limits, pieces.timestamps
        gate, append, handle, ring = pipeline.entrance()
        processors = list(pieces.processors)
        place_of = None
        if processors and type(processors[0]) is Callsite and processors[0].of_places_only:
            place_of = processors.pop(0).place
        self._lane = SPEED.Lane(
            limits.max_depth,
            min(limits.max_nodes, sys.maxsize),  # those that are left for the fields
            min(limits.max_items, sys.maxsize),
            min(pieces.longest, sys.maxsize),
            read=timestamps.read,
            last=timestamps.last,
            steady=timestamps.steady,
            overdue=ACTIVE.overdue,
            fixed=pieces.fixed,
            head_of=pieces.head,
            start_of=pieces.start,
            names_of=pieces.keys,
            leaf=pieces.leaf,
            thread_of=pieces.thread,
            variables=CONTEXT_VARIABLES,
            around_of=pieces.around,
            place_of=place_of,
            # Called by C, which has no frame: one between them and the call.
            adders=tuple(processor.adder(1) for processor in processors),
            straight=pipeline.straight(),
            gate=gate,
            append=append,
            handle=handle,
            ring=ring,
            put=pipeline.put,
            not_delivered=pipeline.not_delivered,
            record=Record,
            dumps=orjson.dumps,
            nothing=frozenset(),
        )

    @property
    def active(self) -> bool:
        """Whether it may be used."""
        return bool(self._lane.active)

    @active.setter
    def active(self, value: bool) -> None:
        self._lane.active = value

    def prepare(self, logger: BoundLogger) -> Prepared | None:
        """Make ready what *logger* needs, in the shape that C reads."""
        if not logger.is_ours:
            return None
        pieces = self._pieces
        made: Prepared
        try:
            members, keys = pieces.bound(logger._context)
            made = (self._lane, pieces.starts(logger._logger), members, keys)
        except NotYetPlainError:
            return None
        except Exception:  # they never will be plain: their own are the same for good
            made = (self._lane,)
        logger._lane = made
        return made

    def method(self, level: int, name: str) -> None:  # noqa: ARG002 - see the protocol
        """Leave the methods alone: they ask the bound logger for its lane."""
        return
