"""What an ECS document says of itself: everything in it that is not one of the call's fields."""

from __future__ import annotations

import time
from typing import Any, Final

import orjson

from pylog_struct.processors._ecs_fields import ECS_VERSION, ecs_fields
from pylog_struct.processors._ecs_names import label_name
from pylog_struct.processors._field_types import MISFIT, as_text, fitted
from pylog_struct.processors._origin import ORIGIN
from pylog_struct.processors._shrink import Roles
from pylog_struct.processors._text import clean, cut, type_name
from pylog_struct.processors.safe_repr import safe_repr
from pylog_struct.processors.sanitise import sanitise
from pylog_struct.processors.timestamps import format_timestamp

__all__ = [
    "ALIASES",
    "PREFIX",
    "ROLES",
    "dataset_of",
    "document_of",
    "gathered",
    "is_taken",
    "service_fields",
    "stub",
]

PREFIX: Final = ("@timestamp", "log.level", "message", "ecs.version")
"""The first fields of every document, in the order that the specification asks for."""

ROLES: Final = Roles(
    prefix=PREFIX,
    message="message",
    messages=frozenset({"error.message"}),
    stacks=frozenset({"error.stack_trace", "pylog.stack"}),
    maps=frozenset({"pylog.folded", "labels"}),
)

ALIASES: Final[dict[str, tuple[str, type, str]]] = {
    "trace_id": ("trace.id", str, "trace_id"),
    "transaction_id": ("transaction.id", str, "transaction_id"),
    "span_id": ("span.id", str, "span_id"),
    "filename": ("log.origin.file.name", str, "lineno"),
    "lineno": ("log.origin.file.line", int, "filename"),
    "func_name": ("log.origin.function", str, "lineno"),
    "thread_name": ("process.thread.name", str, "thread_name"),
    "thread": ("process.thread.id", int, "thread_name"),
    "process": ("process.pid", int, "process_name"),
    "process_name": ("process.name", str, "process"),
}
"""Keys of an event that have a field of their own: the field, the type, and a key beside it.

Those of :class:`~pylog_struct.processors.Callsite` are ordinary words; the key that has to be there
too tells them from somebody's ``process=7``.
"""

_ALIASED: Final = frozenset(ALIASES)
_SERVICE: Final = "service."
_LABELS: Final = "labels."
_LEVEL_MAX: Final = 64
_YEAR_10000: Final = 253_402_300_800  # in Unix time
_DATASET: Final = str.maketrans(dict.fromkeys('\\/*?"<>| ,#:-', "_"))
_DATASET_MAX: Final = 100


def dataset_of(name: str) -> str:
    """Return a dataset's name as the specification wants it: lower case, no punctuation, 100 long."""
    return clean(name).lower().translate(_DATASET)[:_DATASET_MAX]


def service_fields(service: Any) -> dict[str, Any]:
    """Return ``service.*`` of what ``configure(service=…)`` got; what is no field of ECS is a label."""
    safe = sanitise(service)
    if type(safe) is str:
        return {"service.name": safe}
    fields: dict[str, Any] = {}
    if type(safe) is dict:
        _service_members(safe, _SERVICE, fields)
    return fields


def _service_members(members: dict[str, Any], prefix: str, fields: dict[str, Any]) -> None:
    known = ecs_fields()
    for key, value in members.items():
        path = f"{prefix}{key}"
        if type(value) is dict:
            _service_members(value, f"{path}.", fields)
        elif value is not None:
            name = path if path in known else f"{_LABELS}{label_name(path)}"
            fields[name] = as_text(value)


def gathered(own: dict[str, Any]) -> dict[str, Any]:
    """Return what every document has, with its labels in one object.

    An index that has ``labels`` as ``flattened`` takes them in no other way: Elasticsearch 7 refuses
    every document with ``labels.x`` at the top.
    """
    labels = {key.removeprefix(_LABELS): own[key] for key in own if key.startswith(_LABELS)}
    if not labels:
        return own
    rest = {key: value for key, value in own.items() if not key.startswith(_LABELS)}
    return {**rest, "labels": labels}


def document_of(
    event: dict[str, Any], own: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Begin a document.

    Args:
        event: The event in exact builtin types; used up.
        own: What every document of this process has.

    Returns:
        The document with all that is ours; the fields of the call; and values that should have
        been one of ours, but cannot.
    """
    homeless: dict[str, Any] = {}
    document: dict[str, Any] = {"@timestamp": _moment(event, homeless)}
    level = event.pop("level", None)
    document["log.level"] = "info" if level is None else cut(as_text(level), _LEVEL_MAX)
    message = _first(event, "event", "message")
    if message is not None:
        document["message"] = as_text(message)
    document["ecs.version"] = ECS_VERSION
    logger = _first(event, "logger", "log.logger")
    if logger is not None:
        document["log.logger"] = as_text(logger)
    document.update(own)
    origin = event.pop(ORIGIN, None)
    if type(origin) is dict:
        _aliased(origin, document)
    _aliased(event, document)
    _errors(event, document)
    return document, event, homeless


def _first(event: dict[str, Any], key: str, other: str) -> Any:
    """Take *key* out of the event; if it has none, *other*, which the call gave instead."""
    found = event.pop(key, None)
    return event.pop(other, None) if found is None else found


def _moment(event: dict[str, Any], homeless: dict[str, Any]) -> str:
    """The time of the event; now, if what is there is none."""
    given = event.pop("timestamp", None)
    if given is None:
        given = event.pop("@timestamp", None)
    if given is not None and fitted("date", given) is not MISFIT:
        return str(given)
    # structlog's default is Unix time.
    if isinstance(given, int | float) and given is not True and 0 < given < _YEAR_10000:
        return format_timestamp(int(given * 1e6) * 1000)
    if given is not None:
        homeless["timestamp"] = given
    return format_timestamp(time.time_ns())


def is_taken(path: str, value: Any) -> bool:
    """Whether the field of ECS at *path* takes *value*; of a text, that is known."""
    return type(value) is str or fitted(ecs_fields()[path], value) is not MISFIT


def _aliased(event: dict[str, Any], document: dict[str, Any]) -> None:
    if _ALIASED.isdisjoint(event):
        return
    found = [
        (key, target)
        for key, (target, kind, beside) in ALIASES.items()
        if type(event.get(key)) is kind
        and beside in event
        and target not in event
        and is_taken(target, event[key])
    ]
    for key, target in found:
        document[target] = event.pop(key)


def _errors(event: dict[str, Any], document: dict[str, Any]) -> None:
    """Move a described exception to ``error.*``, and the stack of the call out of the way."""
    described = event.get("exception")
    if type(described) is dict and type(described.get("frames")) is list:
        kind, module = described.get("type"), described.get("module")
        if type(kind) is str and type(described.get("message")) is str:
            document["error.type"] = f"{module}.{kind}" if type(module) is str else kind
            document["error.message"] = described["message"]
            document["error.stack_trace"] = as_text(described.get("stack", ""))
            del event["exception"]
    stack = event.get("stack")
    if type(stack) is str and stack.startswith("Stack (most recent call last):"):
        document["pylog.stack"] = event.pop("stack")


def stub(event_dict: Any, failure: BaseException, static: dict[str, Any]) -> bytes:
    """The event reduced to what identifies it; a constant if there is no room even for that."""
    try:
        found = event_dict if isinstance(event_dict, dict) else {}
        texts: dict[str, str] = {}
        for key in ("timestamp", "level", "event", "logger"):
            value = dict.get(found, key)
            if value is not None:
                text = value if type(value) is str else safe_repr(value, 1_000)
                texts[key] = clean(cut(text, 1_000))
        document = {
            "@timestamp": texts["timestamp"]
            if fitted("date", texts.get("timestamp")) is not MISFIT
            else format_timestamp(time.time_ns()),
            "log.level": texts.get("level", "info")[:_LEVEL_MAX],
            "message": texts.get("event", f"<unrenderable {type_name(type(event_dict))}>"),
            "ecs.version": ECS_VERSION,
            **({"log.logger": texts["logger"]} if "logger" in texts else {}),
            **gathered(static),
            "error.type": type_name(type(failure)),
            "error.message": cut(f"not rendered: {safe_repr(failure)}", 1_000),
        }
        return orjson.dumps(document)
    except Exception:
        return _LAST_RESORT


_LAST_RESORT: Final = orjson.dumps(
    {
        "@timestamp": "1970-01-01T00:00:00.000000Z",
        "log.level": "error",
        "message": "<unrenderable event>",
        "ecs.version": ECS_VERSION,
    }
)
