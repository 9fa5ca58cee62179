"""Documents of the Elastic Common Schema, in the form that the ecs-logging specification asks for.

Sources: ``spec/spec.json`` and ``spec/README.md`` of the ecs-logging project, and the field
reference of ECS.  ``docs/reference/ecs.md`` has what becomes what.
"""

from __future__ import annotations

import os
import sys
from threading import current_thread
from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct import fork
from pylog_struct.errors import ConfigError
from pylog_struct.processors._ecs_document import (
    ALIASES,
    ROLES,
    dataset_of,
    document_of,
    gathered,
    is_taken,
    service_fields,
    stub,
)
from pylog_struct.processors._ecs_fields import ECS_VERSION
from pylog_struct.processors._ecs_plain import (
    FLOAT_MAX,
    LONG_MAX,
    LONG_MIN,
    in_range,
    plain_event,
    process_name,
    sanitised_event,
)
from pylog_struct.processors._ecs_plan import NO_TYPES, QuickPlan, is_even
from pylog_struct.processors._ecs_shape import Shape
from pylog_struct.processors._field_types import MISFIT, fitted
from pylog_struct.processors._origin import ORIGIN, note_origin
from pylog_struct.processors._shrink import harmless, shrunk
from pylog_struct.processors.document_limits import DocumentLimits
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits
from pylog_struct.processors.sanitise import sanitise
from pylog_struct.processors.type_guard import OneDocument, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import Processor

    from pylog_struct.processors.json_renderer import OnError

__all__ = ["ECS"]

_ARRAY_MAX: Final = 64  # members of an array that may go the quick way
_PIECES_MAX: Final = 1_000  # levels, loggers and threads; beyond it they are encoded anew
_THREAD: Final = frozenset({"process.thread.name"})
_ORIGIN_FIELDS: Final = frozenset(
    {"log.origin.file.name", "log.origin.file.line", "log.origin.function"}
)


class ECS:
    """A renderer: event dict → one ECS document in one line; ``format="ecs"`` of ``configure``.

    Every document begins with ``@timestamp``, ``log.level``, ``message`` and ``ecs.version``.
    Fields of the schema stay where the call put them if their values fit; everything else of the
    call's stays at the top level, or goes to ``labels`` if it cannot stand there.  Nothing is lost.

    Args:
        dataset: ``event.dataset``; by default the service's name and ``.log``, as specified.
        origin: Add ``log.origin.*``, where the call stands.  Costs a walk over the stack.
        process: Add ``process.pid``, ``process.name`` and ``process.thread.name``.
        guard: Keeps the type of each field; True makes a new :class:`TypeGuard`, False leaves
            types to the index.  Pass one of your own for a mapping that is known.
        limits: How long strings and lines may be; None for no limits.
        value_limits: What is kept of values that have no end.
        on_error: Told about trouble, by stage: ``"sanitise"``, ``"render"``, ``"type_conflict"``
            (one call for each value that did not fit its field), ``"fields_folded"`` (an event with
            a field beyond the guard's number), ``"truncated"`` (a document that was shortened).
        strict: Let errors through instead of replacing what causes them: for tests.

    Raises:
        ConfigError: an argument is of another type.

    Threads: thread-safe.  Blocks: as the JSON renderer.  Fork: the process fields are the child's.
    Picklable if *on_error* is; the copy's guard knows only the mapping that it was given.
    """

    def __init__(
        self,
        *,
        dataset: str | None = None,
        origin: bool = False,
        process: bool = True,
        guard: TypeGuard | bool = True,
        limits: DocumentLimits | None = DocumentLimits(),  # noqa: B008 - immutable
        value_limits: Limits = DEFAULT_LIMITS,
        on_error: OnError | None = None,
        strict: bool = False,
    ) -> None:
        if dataset is not None and not (isinstance(dataset, str) and dataset):
            raise ConfigError(f"ECS.dataset: {dataset!r} is no name such as 'checkout.log'")
        if not isinstance(guard, bool | TypeGuard):
            raise ConfigError(f"ECS.guard: {guard!r} is neither a TypeGuard nor True nor False")
        if limits is not None and not isinstance(limits, DocumentLimits):
            raise ConfigError(f"ECS.limits: {limits!r} is no DocumentLimits")
        for name, flag in (("origin", origin), ("process", process), ("strict", strict)):
            if not isinstance(flag, bool):
                raise ConfigError(f"ECS.{name}: {flag!r} is neither True nor False")
        self._options: dict[str, Any] = {
            "dataset": dataset,
            "origin": origin,
            "process": process,
            "guard": TypeGuard() if guard is True else guard,
            "limits": limits,
            "value_limits": value_limits,
            "on_error": on_error,
            "strict": strict,
        }
        self._origin = origin
        self._process = process
        self._guard: TypeGuard | None = self._options["guard"] or None
        self._limits = limits
        self._harmless = sys.maxsize if limits is None else harmless(limits)
        self._value_limits = value_limits
        self._on_error = on_error
        self._strict = strict
        self._plan = QuickPlan(self._guard)
        self._types_of = self._plan.types_of
        # What many events have in common, encoded.
        self._levels: dict[str, bytes] = {}
        self._loggers: dict[str, bytes] = {}
        self._threads: dict[str, bytes] = {}
        self._second = ""  # the last one seen of a timestamp that is one
        self._max_items = value_limits.max_items
        self._max_text = min(value_limits.max_string, value_limits.max_text // 2)
        self._use_service(None)
        fork.register(self)

    def _use_service(self, service: Any) -> None:
        self._service = service
        self._plain_service = sanitise(service, limits=self._value_limits)
        fields = service_fields(service)
        dataset = self._options["dataset"]
        if dataset is None and "service.name" in fields:
            dataset = f"{fields['service.name']}.log"
        if dataset is not None:
            fields["event.dataset"] = dataset_of(dataset)
        self._static = fields
        self._own: dict[str, Any] | None = None  # with the process; made on first use, and per fork
        self._tail = b""
        self._fixed: frozenset[str] = frozenset()

    def _after_fork_in_child(self) -> None:
        self._own = None

    @property
    def limits(self) -> Limits:
        """What is kept of values that have no end."""
        return self._value_limits

    @property
    def plan(self) -> QuickPlan:
        """What is known about keys."""
        return self._plan

    @property
    def harmless(self) -> int:
        """Bytes of a line up to which nothing in it can be too long."""
        return self._harmless

    @property
    def names_threads(self) -> bool:
        """Whether a document names its thread."""
        return self._process

    def fixed_members(self) -> bytes:
        """Return what every document of this process has, each member after a comma."""
        if self._own is None:
            self._find_own()
        return b",%b" % self._tail[:-1] if self._tail else b""

    @property
    def processors(self) -> tuple[Processor, ...]:
        """Processors that have to run before this renderer, after all others."""
        return (note_origin,) if self._origin else ()

    def prepared(
        self, *, service: Any = None, on_error: OnError | None = None, strict: bool = False
    ) -> ECS:
        """Return a renderer for one pipeline, with the same options and the same guard.

        Args:
            service: What every event of the pipeline carries under ``service``.
            on_error: Used unless the renderer has one.
            strict: Or-ed with the renderer's.
        """
        options = {**self._options, "on_error": self._on_error or on_error}
        made = ECS(**{**options, "strict": self._strict or strict})
        made._use_service(service)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._options, self._service))

    def __call__(self, _logger: Any, _method_name: str, event_dict: Mapping[str, Any], /) -> bytes:
        """Render the event."""
        return self.render(event_dict)

    def render(self, event_dict: Mapping[str, Any], /) -> bytes:
        """Render the event; the same without what processors are called with."""
        try:
            line = self._quickly(event_dict)
        except Exception:  # not plain after all: the slow way finds out what it is
            line = None
        if line is None:
            line = self._thoroughly(event_dict)
        return line if len(line) <= self._harmless else self._shortened(line)

    # -- the quick way: nothing but scalars under keys whose place is known -----------------------

    def _quickly(self, event_dict: Any) -> bytes | None:
        if type(event_dict) is not dict or len(event_dict) > self._max_items:
            return None
        fields = event_dict.copy()  # one step, whatever other threads do to it
        take = fields.pop
        stamp, level, message, logger = (
            take("timestamp"),
            take("level"),
            take("event"),
            take("logger"),
        )
        service = self._service
        if service is not None:
            given = take("service")
            if given is not service and given != service:
                return None
        if not (
            type(stamp) is type(level) is type(message) is type(logger) is str
            and len(stamp) == 27
            and stamp[26] == "Z"
            and stamp[20:26].isdecimal()
            and len(level) <= 64
        ):
            return None
        if stamp[:20] != self._second:
            if fitted("date", stamp) is MISFIT:
                return None
            self._second = stamp[:20]
        origin = take(ORIGIN, None) if self._origin else None
        if origin is not None and not _ORIGIN_FIELDS.isdisjoint(fields):
            return None
        if self._own is None:
            self._find_own()
        types_of, addresses = self._types_of, self._plan.addresses
        text = len(message)
        aliases = False
        for key, value in fields.items():
            kind = type(value)
            if kind is list and len(value) <= _ARRAY_MAX and self._plan.takes_arrays:
                fields[key] = copy = value[:]  # nobody changes it between the look and the encoder
                if not is_even(copy, types_of(key, NO_TYPES)):
                    return None
                if type(copy[0]) is str:
                    text += sum(map(len, copy))
                continue
            if kind not in types_of(key, NO_TYPES):
                if kind is str and key in addresses and fitted("ip", value) is value:
                    text += len(value)
                    continue
                alias = ALIASES.get(key)
                if alias is None or kind is not alias[1] or alias[2] not in fields:
                    return None
                if alias[0] in fields or alias[0] in self._fixed or not is_taken(alias[0], value):
                    return None
                aliases = True
            if kind is str:
                text += len(value)
            elif kind is int:
                if not LONG_MIN <= value <= LONG_MAX:
                    return None
            elif kind is float and not -FLOAT_MAX <= value <= FLOAT_MAX:
                return None
        if text > self._max_text:
            return None
        if origin is not None:
            fields.update((ALIASES[key][0], value) for key, value in origin.items())
        if aliases:
            for key in tuple(fields):
                if key in ALIASES and types_of(key) is None:
                    fields[ALIASES[key][0]] = take(key)
        thread = current_thread().name if self._process else ""
        try:
            line = b"".join(
                (
                    b'{"@timestamp":"',
                    stamp.encode(),
                    self._levels[level],
                    orjson.dumps(message),
                    self._loggers[logger],
                    self._threads[thread],
                    orjson.dumps(fields)[1:],
                )
            )
        except KeyError:
            self._add_pieces(level, logger, thread)
            return self._quickly(event_dict)
        return line if fields else line[:-2] + b"}"

    def _add_pieces(self, level: str, logger: str, thread: str) -> None:
        """Encode what many events have in common; each piece ends with a comma or a colon."""
        for pieces in (self._levels, self._loggers, self._threads):
            if len(pieces) >= _PIECES_MAX:
                pieces.clear()
        named = orjson.dumps({"ecs.version": ECS_VERSION, "log.logger": logger})
        self._levels[level] = b'","log.level":%b,"message":' % orjson.dumps(level)
        self._loggers[logger] = b",%b,%b" % (named[1:-1], self._tail)
        self._threads[thread] = (
            b'"process.thread.name":%b,' % orjson.dumps(thread) if self._process else b""
        )

    def _find_own(self) -> dict[str, Any]:
        """What every document of this process has, and the same as the end of a line."""
        own = dict(self._static)
        if self._process:
            own["process.pid"] = os.getpid()
            own["process.name"] = process_name()
        try:
            self._tail = _members(gathered(own))
        except Exception:  # a name that is no Unicode
            own = sanitise(own, limits=self._value_limits)
            self._tail = _members(gathered(own))
        self._fixed = frozenset(own) | (_THREAD if self._process else frozenset())
        self._loggers.clear()
        self._own = own
        return own

    # -- the thorough way -------------------------------------------------------------------------

    def _thoroughly(self, event_dict: Any) -> bytes:
        trouble: str | None = None
        try:
            try:
                event, trouble = plain_event(event_dict, self._value_limits)
                line = self._document(event)
            except Exception:  # text that is no Unicode, or a key that is none
                event, trouble = sanitised_event(event_dict, self._value_limits)
                line = self._document(event)
        except Exception as failure:
            if self._strict:
                raise
            self._tell("render", failure)
            return stub(event_dict, failure, self._static)
        if trouble is not None:
            error = TypeError(trouble)
            if self._strict:
                raise error
            self._tell("sanitise", error)
        return line

    def _document(self, event: dict[str, Any]) -> bytes:
        guard = self._guard or OneDocument()
        own = dict(self._find_own() if self._own is None else self._own)
        if self._process:
            own["process.thread.name"] = current_thread().name
        service = event.get("service")
        if self._service is not None and service == self._plain_service:
            del event["service"]
        document, rest, homeless = document_of(event, own)
        shape = Shape(guard, document)
        for key, value in homeless.items():
            shape.relabel(key, value)
        types_of = self._types_of
        for key, value in rest.items():
            # What may go the quick way is in its place, unless another spelling of it is there too.
            if type(value) in types_of(key, NO_TYPES) and "." not in key and in_range(value):
                document[key] = value
                shape.note(key)
            else:
                shape.place(key, value)
        shape.settle()
        document = gathered(document)
        document.update(shape.fields)
        if shape.labels:
            document["labels"] = {**document.get("labels", {}), **shape.labels}
        if shape.folded:
            document["pylog.folded"] = shape.folded
        line = orjson.dumps(document)
        self._plan.learn(rest, shape)
        self._tell_about(shape)
        return line

    def _tell_about(self, shape: Shape) -> None:
        guard = self._guard
        if guard is None:
            return
        for path, text in shape.conflicts:
            self._tell("type_conflict", TypeError(text))
            guard.report(path, text)
        if shape.folded:
            path = next(iter(shape.folded))
            text = f"more than {guard.max_fields} fields: {path!r} and other new ones are folded"
            self._tell("fields_folded", TypeError(text))
            guard.report("pylog.folded", f"{text} into pylog.folded")

    def _shortened(self, line: bytes) -> bytes:
        if self._limits is None:
            return line
        try:
            shorter = shrunk(line, self._limits, ROLES)
        except (
            Exception
        ) as failure:  # nothing is known to come here; a long line is better than none
            self._tell("render", failure)
            return line
        if shorter is not line:
            self._tell("truncated", ValueError(f"a document of {len(line)} bytes was shortened"))
        return shorter

    def _tell(self, stage: str, error: BaseException) -> None:
        if self._on_error is not None:
            try:
                self._on_error(stage, error)
            except Exception:
                return  # the hook is how trouble is told; there is no other


def _members(document: dict[str, Any]) -> bytes:
    """Return the members of an object as JSON, each with its comma."""
    return orjson.dumps(document)[1:-1] + b"," if document else b""


def _rebuild(options: dict[str, Any], service: Any) -> ECS:
    made = ECS(**options)
    made._use_service(service)
    return made
