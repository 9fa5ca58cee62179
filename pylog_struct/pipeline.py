"""From a log call to a record in the root sink: merge, process, render, deliver.  Never raises.

One :class:`Pipeline` is what one ``configure`` made; ``ACTIVE`` names the current one.  The
fields of an event are merged in structlog's order (context variables, bound values, the call's own),
what clashes with a key of ours moves under ``extra.``, processors run, the renderer turns the event
dict into one line of bytes, and the root sink takes charge of it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from pylog_struct import diagnostics
from pylog_struct._lazy import loaded
from pylog_struct.active import ACTIVE
from pylog_struct.errors import PylogError, SinkClosedError
from pylog_struct.fast_lane import FastLane, make_fast_lane
from pylog_struct.ledger import DropReason
from pylog_struct.levels import ERROR, level_label
from pylog_struct.processors.exceptions import ExceptionFormatter
from pylog_struct.processors.interpolation import interpolate, positional_arguments
from pylog_struct.processors.safe_repr import safe_repr, safe_str
from pylog_struct.processors.timestamps import TimestampSource, format_timestamp
from pylog_struct.record import Record
from pylog_struct.structlog_context import CONTEXT_VARIABLES, current_context

if TYPE_CHECKING:
    import logging

    from structlog.typing import Processor

    from pylog_struct.metrics import Pipeline as PipelineCounts
    from pylog_struct.processors.ecs import ECS
    from pylog_struct.processors.json_renderer import JSONRenderer
    from pylog_struct.sinks.base import BaseSink
    from pylog_struct.thresholds import NamedLogger

__all__ = ["RESERVED", "Pipeline", "Renderer", "as_line", "watch"]

Renderer = Callable[[Mapping[str, Any]], bytes]

RESERVED: Final = frozenset({"timestamp", "level", "logger", "event"})
"""Keys that say the same in every event; a user's value under one of them moves to ``extra.<key>``."""

_SPECIAL: Final = frozenset({"exc_info", "stack_info"})
_DEPTH_MAX: Final = 4  # events logged by processors, __repr__ … while an event is being processed


class _Depth(threading.local):
    value = 0


class Pipeline:
    """One configuration's way from an event to its root sink.

    Args:
        root: The outermost sink; thread-safe, with a ``put`` that takes charge of one record.
        render: Event dict → one line; never raises.
        counts: Where trouble and intended drops are counted.
        processors: The user's own, run in order after the standard keys are there and before
            exceptions are formatted.
        static: Fields that every event carries (``service``).
        exceptions: Formats ``exc_info``.
        timestamps: The source of call times.
        plain: The renderer that *render* belongs to, if plain events of it can take the fast lane.
        strict: Let errors through to the caller: for tests.

    Threads: thread-safe, re-entrant.  Blocks: as long as the root's ``put`` does.
    """

    def __init__(
        self,
        root: BaseSink,
        *,
        render: Renderer,
        counts: PipelineCounts,
        processors: Iterable[Processor] = (),
        static: Mapping[str, Any] | None = None,
        exceptions: ExceptionFormatter | None = None,
        timestamps: TimestampSource | None = None,
        strict: bool = False,
        plain: JSONRenderer | ECS | None = None,
    ) -> None:
        self.root = root
        self.strict = strict
        self.counts = counts
        self._plain = plain
        self.put: Callable[[Record], None] = root.put  # type: ignore[attr-defined]
        """Hands a record to the root sink, without the care of :meth:`deliver`."""
        self._render = render
        self._processors: Sequence[Processor] = tuple(processors)
        self._static = dict(static or {})
        self._clashes = RESERVED | self._static.keys()
        self._exceptions = exceptions or ExceptionFormatter()
        self._now = timestamps or TimestampSource()
        self._depth = _Depth()

    @property
    def renders_ecs(self) -> bool:
        """Whether the lines are documents of the Elastic Common Schema: their fields have its names."""
        renderer = getattr(self._render, "__self__", None)
        return isinstance(renderer, loaded("pylog_struct.processors.ecs", "ECS"))

    def entrance(self) -> tuple[Any, Any, Any, Any]:
        """Return what ``QueueSink.entrance`` does, or four times None if the root is no queue."""
        found: tuple[Any, Any, Any, Any] | None = getattr(self.root, "entrance", lambda: None)()
        return found or (None, None, None, None)

    def straight(self) -> Callable[[int, bytes, int], bool] | None:
        """Return what ``LockedSink.straight`` does, or None if the root is something else."""
        found: Callable[[int, bytes, int], bool] | None
        found = getattr(self.root, "straight", lambda: None)()
        return found

    def fast_lane(self) -> FastLane | None:
        """Return what takes plain events; None if every event has to go step by step."""
        if self._plain is None:
            return None
        return make_fast_lane(
            self,
            renderer=self._plain,
            static=self._static,
            reserved=RESERVED,
            processors=self._processors,
            timestamps=self._now,
        )

    # -- the way of one event ---------------------------------------------------------------------

    def emit(
        self,
        level: int,
        level_name: str,
        logger: NamedLogger,
        event: Any,
        args: tuple[Any, ...],
        context: Mapping[str, Any],
        fields: dict[str, Any],
        moment: int | None = None,
        origin: logging.LogRecord | None = None,
    ) -> None:
        """Render one event and deliver it.

        Args:
            level: Severity, in the stdlib's numbers.
            level_name: What stands under ``level``.
            logger: Whose name stands under ``logger``.
            event: What happened; None leaves the key out.
            args: Values for the ``%`` placeholders of *event*.
            context: The bound values; not changed.
            fields: The call's own values; this dict is used up.
            moment: Unix time in nanoseconds if it is not now.
            origin: The stdlib's record that this was; processors find it under ``_record``, as in
                structlog's own ``ProcessorFormatter``.

        Raises:
            RecursionError: the stack is used up; nothing has happened yet.
        """
        record = self.render(
            level, level_name, logger, event, args, context, fields, moment, origin
        )
        if record is not None:
            self.deliver(record)

    def render(
        self,
        level: int,
        level_name: str,
        logger: NamedLogger,
        event: Any,
        args: tuple[Any, ...],
        context: Mapping[str, Any],
        fields: dict[str, Any],
        moment: int | None = None,
        origin: logging.LogRecord | None = None,
    ) -> Record | None:
        """Return the record of one event, or None if a processor dropped it."""
        now = self._now() if moment is None else moment
        try:
            if CONTEXT_VARIABLES:
                fields = {**current_context(), **context, **fields}
            elif context:
                fields = {**context, **fields}
            if not self._clashes.isdisjoint(fields):
                fields = _rehome(fields, self._clashes)
            event_dict: dict[str, Any] = {
                "timestamp": format_timestamp(now),
                "level": level_name,
                "logger": logger.name,
            }
            if args or type(event) is not str:
                event, problem = interpolate(event, args)
                if problem is not None:
                    fields.setdefault("log_format_error", problem)
                    fields.setdefault("positional_args", positional_arguments(args))
            if event is not None:
                event_dict["event"] = event
            if self._static:
                event_dict.update(self._static)
            event_dict.update(fields)
            if self._processors or not _SPECIAL.isdisjoint(fields):
                line = self._slow_lane(logger, level_name, event_dict, origin)
                if line is None:
                    self.counts.discard(level_label(level))
                    return None
            else:
                line = self._render(event_dict)
        except RecursionError:
            raise  # a stub needs stack too; the caller puts the event off
        except Exception as error:
            if self.strict:
                raise
            line = self._stub(now, level_name, logger, event, error)
        record: Record = tuple.__new__(Record, (level, line, now / 1e9))
        return record

    def _slow_lane(
        self,
        logger: NamedLogger,
        level_name: str,
        event_dict: dict[str, Any],
        origin: logging.LogRecord | None,
    ) -> bytes | None:
        """Run what may call the user's code; None means that a processor dropped the event."""
        depth = self._depth
        if depth.value >= _DEPTH_MAX:
            msg = f"logging while logging, {_DEPTH_MAX} deep"
            raise PylogError(msg)
        depth.value += 1
        try:
            processed: Any = event_dict
            if origin is not None:
                processed.setdefault("_record", origin)
            for processor in self._processors:
                processed = self._apply(processor, logger, level_name, processed)
                if processed is None:
                    return None
                if isinstance(processed, bytes | bytearray | str):
                    return as_line(processed)
            if origin is not None and processed.get("_record") is origin:
                del processed["_record"]
            processed = self._exceptions(logger, level_name, processed)
            return self._render(processed)
        finally:
            depth.value -= 1

    def _apply(
        self, processor: Processor, logger: NamedLogger, level_name: str, event_dict: Any
    ) -> Any:
        try:
            result: Any = processor(logger, level_name, event_dict)
        except structlog.DropEvent:
            return None
        except Exception as error:
            if self.strict:
                raise
            self.counts.error("processor")
            name = getattr(processor, "__name__", type(processor).__name__)
            diagnostics.report(
                f"processor {name}", f"processor {name} failed; the event went on", error
            )
            event_dict["processor_error"] = f"{name}: {type(error).__name__}: {safe_str(error)}"
            return event_dict
        if isinstance(result, dict | bytes | bytearray | str):
            return result
        if isinstance(result, Mapping):
            return dict(result)
        if self.strict:
            msg = f"processor {processor!r} returned {type(result).__name__}, not an event dict"
            raise PylogError(msg)
        self.counts.error("processor")
        event_dict["processor_error"] = f"{processor!r:.200} returned {type(result).__name__}"
        return event_dict

    def _stub(
        self, now: int, level_name: str, logger: NamedLogger, event: Any, error: Exception
    ) -> bytes:
        """What is left to say when even the sanitiser could not help."""
        self.counts.error("pipeline")
        text = event if isinstance(event, str) else safe_repr(event)
        document = {
            "timestamp": format_timestamp(now),
            "level": level_name,
            "logger": logger.name,
            "event": text.encode("utf-8", "backslashreplace").decode(),
            "render_error": f"{type(error).__name__}: {safe_str(error)}",
        }
        try:
            return orjson.dumps(document)
        except Exception:
            return b'{"event":"<unrenderable>","level":"error"}'

    # -- delivery -----------------------------------------------------------------------------------

    def deliver(self, record: Record) -> None:
        """Hand *record* to the root sink, or to that of the pipeline that took over."""
        try:
            self.put(record)
        except Exception as error:
            self.not_delivered(record, error)

    def not_delivered(self, record: Record, error: Exception) -> None:
        """Find what is left to do with a record that the root sink would not take."""
        if isinstance(error, SinkClosedError):
            self._deliver_late(record)
        elif self.strict:
            raise error
        elif isinstance(error, RecursionError):
            ACTIVE.overdue.append(record)
        else:
            self._lost(record, DropReason.UNAVAILABLE, error)

    def _deliver_late(self, record: Record) -> None:
        current = ACTIVE.pipeline
        if current is not None and current is not self:
            current.deliver(record)
            return
        self._lost(record, DropReason.CLOSED, None)

    def _lost(self, record: Record, reason: DropReason, error: Exception | None) -> None:
        """Count a record that the root would not take, and say so; from ERROR up with the line itself."""
        ledger = self.root.ledger
        with ledger.lock:
            ledger.refused((record,), reason)
            by_level = ledger.received_by_level
            by_level[record.level] = by_level.get(record.level, 0) + 1
        text = (
            "an event came after the pipeline was closed"
            if error is None
            else "the root sink failed"
        )
        # While the interpreter is taken down (__del__ of what is left), stderr is all there is.
        if record.level >= ERROR or (error is None and sys.is_finalizing()):
            line = record.line.decode("utf-8", "replace")
            diagnostics.report("pipeline", f"{text}; lost: {line}", error, always=True)
        else:
            diagnostics.report(
                f"pipeline {reason}", f"{text}; events below ERROR are counted only", error
            )

    def notice(self, level: int, event: str, fields: Mapping[str, Any]) -> Record:
        """Build a record of a sink's own, in this pipeline's format: a ``NoticeFactory``."""
        now = time.time_ns()
        if self.renders_ecs:
            fields = _as_labels(fields)
        document = {
            "timestamp": format_timestamp(now),
            "level": level_label(level),
            "logger": "pylog_struct",
            "event": event,
            **self._static,
            **fields,
        }
        return Record(level, self._render(document), now / 1e9)


_deliver: Final = Pipeline.deliver


def watch(seen: Callable[[Record], None] | None) -> None:
    """Have *seen* called with every record that is delivered step by step, by any pipeline; None ends it.

    It must neither raise nor log.  While nobody watches, this costs nothing.
    """

    def deliver(self: Pipeline, record: Record) -> None:
        if seen is not None:
            seen(record)
        _deliver(self, record)

    Pipeline.deliver = _deliver if seen is None else deliver  # type: ignore[method-assign]


def _rehome(fields: dict[str, Any], clashes: Iterable[str]) -> dict[str, Any]:
    """Move clashing keys under ``extra.``; nothing is lost, whatever is there already."""
    moved = dict(fields)
    for key in clashes:
        if key in moved:
            value = moved.pop(key)
            target, number = f"extra.{key}", 2
            while target in moved:
                target, number = f"extra.{key}_{number}", number + 1
            moved[target] = value
    return moved


def _as_labels(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Name as labels what has the name of an object in ECS: it is no mistake to be counted and reported."""
    from pylog_struct.processors._ecs_fields import ECS_ROOTS  # noqa: PLC0415 - the renderer has it

    return {f"labels.{key}" if key in ECS_ROOTS else key: value for key, value in fields.items()}


def as_line(text: bytes | bytearray | str) -> bytes:
    """Return what a user's own renderer returned, as one line of a record."""
    data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else bytes(text)
    return data.rstrip(b"\n")
