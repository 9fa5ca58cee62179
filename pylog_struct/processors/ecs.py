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
    service_fields,
    stub,
)
from pylog_struct.processors._ecs_fields import ECS_VERSION, ecs_fields
from pylog_struct.processors._ecs_shape import Shape, is_claimed, is_sound
from pylog_struct.processors._field_types import MISFIT, fitted, passing
from pylog_struct.processors._origin import ORIGIN, note_origin
from pylog_struct.processors._shrink import harmless, shrunk
from pylog_struct.processors._text import cut
from pylog_struct.processors.document_limits import DocumentLimits
from pylog_struct.processors.json_renderer import NotPlainError, PlainCopy
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits
from pylog_struct.processors.sanitise import Sanitiser, sanitise
from pylog_struct.processors.type_guard import OneDocument, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import Processor

    from pylog_struct.processors.json_renderer import OnError

__all__ = ["ECS"]

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_NO_TYPES: Final[frozenset[type]] = frozenset()
_PLAN_MAX: Final = 4_096  # keys; more come only without a guard
_ORIGIN_FIELDS: Final = frozenset(
    {"log.origin.file.name", "log.origin.file.line", "log.origin.function"}
)
_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**63 - 1
_FLOAT_MAX: Final = 3.4028234663852886e38


class _Plan(dict[str, frozenset[type]]):
    """Of a key that goes the quick way, the types of values that it may have."""

    __slots__ = ()

    def __missing__(self, _key: str) -> frozenset[type]:
        return _NO_TYPES


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
        self._plan = _Plan()
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

    def _after_fork_in_child(self) -> None:
        self._own = None

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
        own = self._own
        if own is None:
            own = self._find_own()
        plan = self._plan
        text = len(message)
        aliases = False
        for key, value in fields.items():
            kind = type(value)
            if kind not in plan[key]:
                alias = ALIASES.get(key)
                if alias is None or kind is not alias[1] or alias[2] not in fields:
                    return None
                if alias[0] in fields or alias[0] in own:
                    return None
                aliases = True
            if kind is str:
                text += len(value)
            elif kind is int:
                if not _LONG_MIN <= value <= _LONG_MAX:
                    return None
            elif kind is float and not -_FLOAT_MAX <= value <= _FLOAT_MAX:
                return None
        if text > self._max_text:
            return None
        if self._process:
            document = {
                "@timestamp": stamp,
                "log.level": level,
                "message": message,
                "ecs.version": ECS_VERSION,
                "log.logger": logger,
                "process.thread.name": current_thread().name,
                **fields,
            }
        else:
            document = {
                "@timestamp": stamp,
                "log.level": level,
                "message": message,
                "ecs.version": ECS_VERSION,
                "log.logger": logger,
                **fields,
            }
        if origin is not None:
            document.update((ALIASES[key][0], value) for key, value in origin.items())
        if aliases:
            for key in fields:
                if key not in plan and key in ALIASES:
                    document[ALIASES[key][0]] = document.pop(key)
        return orjson.dumps(document)[:-1] + self._tail

    def _find_own(self) -> dict[str, Any]:
        """What every document of this process has, and the same as the end of a line."""
        own = dict(self._static)
        if self._process:
            own["process.pid"] = os.getpid()
            own["process.name"] = _process_name()
        try:
            self._tail = b"," + orjson.dumps(own)[1:] if own else b"}"
        except Exception:  # a name that is no Unicode
            own = sanitise(own, limits=self._value_limits)
            self._tail = b"," + orjson.dumps(own)[1:]
        self._own = own
        return own

    # -- the thorough way -------------------------------------------------------------------------

    def _thoroughly(self, event_dict: Any) -> bytes:
        trouble: str | None = None
        try:
            try:
                event, trouble = _plain(event_dict, self._value_limits)
                line = self._document(event)
            except Exception:  # text that is no Unicode, or a key that is none
                event, trouble = _sanitised(event_dict, self._value_limits)
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
        plan = self._plan
        for key, value in rest.items():
            # What may go the quick way is in its place, unless another spelling of it is there too.
            if type(value) in plan[key] and "." not in key and _in_range(value):
                document[key] = value
            else:
                shape.place(key, value)
        document.update(shape.fields)
        if shape.labels:
            document["labels"] = shape.labels
        if shape.folded:
            document["pylog.folded"] = shape.folded
        line = orjson.dumps(document)
        self._learn(rest, shape)
        self._tell_about(shape)
        return line

    def _learn(self, rest: dict[str, Any], shape: Shape) -> None:
        """Note which keys may go the quick way from now on, with which types of values."""
        for key, value in shape.fields.items():
            if (
                type(value) not in _SCALARS
                or value is not rest.get(key)
                or key in self._plan
                or len(self._plan) >= _PLAN_MAX
            ):
                continue
            if self._guard is not None:
                kind = self._guard.type_of(key)
                types = _NO_TYPES if kind is None else passing(kind)
            elif key in ecs_fields():
                types = passing(ecs_fields()[key])
            else:
                # Without a guard only names within one document can clash.
                alone = "." not in key and is_sound(key) and not is_claimed(key)
                types = _SCALARS if alone else _NO_TYPES
            if types:
                self._plan[key] = types

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


def _rebuild(options: dict[str, Any], service: Any) -> ECS:
    made = ECS(**options)
    made._use_service(service)
    return made


def _process_name() -> str:
    # As logging does it: whoever has not imported multiprocessing is the main process.
    multiprocessing = sys.modules.get("multiprocessing")
    name = None if multiprocessing is None else multiprocessing.current_process().name
    return cut(name, 200) if isinstance(name, str) else "MainProcess"


def _in_range(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return _LONG_MIN <= value <= _LONG_MAX
    return kind is not float or -_FLOAT_MAX <= value <= _FLOAT_MAX


def _plain(event_dict: Any, limits: Limits) -> tuple[dict[str, Any], str | None]:
    """Return the event in exact builtin types, and what had to be replaced.

    Strings are left alone: whether they are Unicode the encoder finds out quicker.
    """
    if type(event_dict) is dict and len(event_dict) <= limits.max_items:
        event = event_dict.copy()
        odd: dict[str, Any] = {}
        text = 0
        for key, value in event.items():
            if type(key) is not str:
                break
            kind = type(value)
            if kind is str:
                text += len(value)
            elif kind is float:
                if value - value != 0:
                    event[key] = None
            elif kind not in _SCALARS or (kind is int and not _LONG_MIN <= value <= _LONG_MAX):
                odd[key] = value
        else:
            if text <= min(limits.max_string, limits.max_text // 2):
                if not odd:
                    return event, None
                try:
                    event.update(PlainCopy(limits).object(odd, limits.max_depth))
                except NotPlainError:
                    sanitiser = Sanitiser(limits)
                    event.update(sanitiser.value(odd, 1))
                    return event, sanitiser.trouble
                return event, None
    return _sanitised(event_dict, limits)


def _sanitised(event_dict: Any, limits: Limits) -> tuple[dict[str, Any], str | None]:
    sanitiser = Sanitiser(limits)
    safe = sanitiser.value(event_dict, 1)
    return (safe if type(safe) is dict else {"event": safe}), sanitiser.trouble
