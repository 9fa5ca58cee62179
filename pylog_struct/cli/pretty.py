"""One JSON line as people read it: time, level, event, logger, then the fields; stacks below."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from rich.text import Text

from pylog_struct.errors import ConfigError
from pylog_struct.levels import INFO, level_label, parse_level

__all__ = ["Event", "pretty"]

_LEVEL_STYLES: Final = {
    "debug": "cyan",
    "info": "green",
    "warning": "yellow",
    "error": "bold red",
    "critical": "bold white on red",
}
_STACK_KEYS: Final = ("stack_trace", "stacktrace", "stack", "traceback")
_EVENT_WIDTH: Final = 30
# What could move the cursor, retitle a terminal or hide text: a log file may hold anybody's input.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Event:
    """A line of a log file, taken apart as far as it can be.

    Args:
        line: What stands in the file, without the line's end.
    """

    def __init__(self, line: bytes) -> None:
        self.line = line
        try:
            decoded = orjson.loads(line)
        except orjson.JSONDecodeError:
            decoded = None
        self.fields: dict[str, Any] | None = decoded if isinstance(decoded, dict) else None

    def pop(self, *names: str) -> Any:
        """Take the first of *names* that is there: a key, or a path of keys (``log.level``)."""
        for name in names:
            outer, _, inner = name.partition(".")
            fields = self.fields or {}
            if name in fields:
                return fields.pop(name)
            nested = fields.get(outer)
            if inner and isinstance(nested, dict) and inner in nested:
                value = nested.pop(inner)
                if not nested:
                    del fields[outer]
                return value
        return None

    @property
    def level(self) -> int:
        """The severity as a number; INFO if the line does not say."""
        fields = self.fields or {}
        nested = fields.get("log")
        value = fields.get("level", fields.get("log.level", fields.get("severity")))
        if value is None and isinstance(nested, dict):
            value = nested.get("level")
        if value is None and _is_level_name(fields.get("status")):
            value = fields["status"]  # as Datadog has it; most other fields of this name are none
        try:
            return parse_level(value) if isinstance(value, int | str) else INFO
        except ConfigError:
            return INFO


def _is_level_name(value: object) -> bool:
    if not isinstance(value, str) or value.strip().isdecimal():
        return False
    try:
        parse_level(value)
    except ConfigError:
        return False
    return True


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _value(value: Any) -> str:
    if isinstance(value, str):
        plain = _visible(value)
        return plain if plain and not set(plain) & set(" \n\"'=") else repr(value)
    return _visible(orjson.dumps(value).decode())


def _time(value: Any) -> str:
    text = _visible(str(value))
    clock = re.fullmatch(
        r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)(\.\d{1,3})?\d*(?:Z|[+-]\d\d:?\d\d)", text
    )
    return f"{clock[1]}{clock[2] or ''}" if clock else text


def _take_stacks(fields: dict[str, Any]) -> list[str]:
    """Remove what holds a stack as text, at the top or one level down, and return the texts."""
    stacks: list[str] = []
    for key in [*_STACK_KEYS, "error.stack_trace", "exception"]:
        value = fields.get(key)
        if isinstance(value, str) and "\n" in value:
            stacks.append(fields.pop(key))
    for key in ("exception", "error"):
        nested = fields.get(key)
        if not isinstance(nested, Mapping):
            continue
        for inner in _STACK_KEYS:
            value = nested.get(inner)
            if isinstance(value, str) and value.strip():
                stacks.append(value)
                fields.pop(key)  # the stack's text says type, message and frames once more
                break
    return stacks


def pretty(event: Event) -> Text:
    """Return *event* as styled text; a line that is no JSON object stays as it is, but printable."""
    label = level_label(event.level)
    text = Text(no_wrap=False)
    if event.fields is None:
        return text.append(_visible(event.line.decode("utf-8", "replace")), style="dim")
    moment = event.pop("timestamp", "@timestamp", "time", "ts")
    named = event.pop("level", "log.level", "severity")
    if named is None and _is_level_name(event.fields.get("status")):
        named = event.pop("status")
    what = event.pop("event", "message", "msg")
    nested = isinstance(event.fields.get("logger"), dict)
    logger = event.pop("logger.name" if nested else "logger", "log.logger", "logger_name")
    stacks = _take_stacks(event.fields)
    if moment is not None:
        text.append(f"{_time(moment)} ", style="dim")
    text.append(f"{_visible(str(named or label)):<8} ", style=_LEVEL_STYLES[label])
    words = _visible(what if isinstance(what, str) else _value(what) if what is not None else "")
    text.append(f"{words:<{_EVENT_WIDTH}}", style="bold")
    if logger:
        text.append(f" [{_visible(str(logger))}]", style="blue")
    for key, value in event.fields.items():
        text.append(f" {_visible(key)}", style="cyan").append("=", style="dim")
        text.append(_value(value), style="magenta")
    text.rstrip()
    for stack in stacks:
        body = "\n".join(f"    {_visible(row)}" for row in stack.strip("\n").split("\n"))
        text.append(f"\n{body}", style="red" if label in {"error", "critical"} else "dim")
    return text
