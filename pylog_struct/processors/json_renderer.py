"""The JSON renderer: one event dict → one line of JSON, whatever is in it.

The encoder (orjson) trusts what it is given: a tzinfo, an Enum, a UUID or a dataclass that
misbehaves makes it crash the process, and so does running out of memory.  So nothing but exact
builtin types ever reaches it, in containers that no other thread can change, in bounded number
and length.  ``docs/explanation/rendering.md`` has the experiments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from enum import EnumMeta
from typing import Any, Final

import orjson

from pylog_struct.processors._leaves import LEAVES
from pylog_struct.processors._text import clean, cut, type_name
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits
from pylog_struct.processors.safe_repr import safe_repr
from pylog_struct.processors.sanitise import Sanitiser

__all__ = ["JSONRenderer", "NotPlainError", "OnError", "PlainCopy", "render_json"]

OnError = Callable[[str, BaseException], None]
"""Called with a stage and the error behind it: ``"sanitise"`` when something had to be replaced in
or cut from an event, ``"render"`` when nothing but a stub could be made of it."""

_QUICK_LEAVES: Final = frozenset(LEAVES) - {
    id(int),
    id(float),
    id(str),
    id(BaseException),
    id(type),
}
_LAST_RESORT: Final = (
    b'{"level":"error","event":"<unrenderable event>","render_error":"no memory or stack"}'
)


class NotPlainError(Exception):
    """The event needs the full sanitiser."""


def render_json(
    event_dict: Mapping[str, Any],
    *,
    limits: Limits = DEFAULT_LIMITS,
    on_error: OnError | None = None,
    strict: bool = False,
) -> bytes:
    """Return *event_dict* as one line of JSON (RFC 8259, UTF-8, no newline at the end).

    Three steps, each only if the one before failed: encode; sanitise and encode; encode a stub
    with timestamp, level, logger, event and ``render_error``.

    Args:
        event_dict: The event; it and everything in it stays as it is.
        limits: What is kept of values that have no end.
        on_error: Told about every event that could not be rendered as it was.  What it raises
            is ignored.
        strict: Let errors through instead of replacing what causes them (for tests).

    Raises:
        BaseException: no ``Exception``; only what a signal handler raises meanwhile.
        TypeError: only if *strict*: some value would have been replaced or cut.

    Threads: thread-safe, re-entrant.  Blocks: see :func:`pylog_struct.processors.safe_repr.safe_repr`.
    """
    try:
        line = orjson.dumps(_plain(event_dict, limits))
        if len(line) <= limits.max_string:
            return line
        error: BaseException | None = None
    except NotPlainError:
        error = None
    except Exception as refused:
        if strict:
            raise
        error = refused
    try:
        sanitiser = Sanitiser(limits)
        safe = sanitiser.value(event_dict, 1)
        if error is None and sanitiser.trouble is not None:
            error = TypeError(sanitiser.trouble)
            if strict:
                raise error
        if type(safe) is not dict:
            safe = {"event": safe}
        line = orjson.dumps(safe)
    except Exception as failure:
        if strict:
            raise
        _tell(on_error, "render", failure)
        return _stub(event_dict, failure)
    if error is not None:
        _tell(on_error, "sanitise", error)
    return line


class JSONRenderer:
    """:func:`render_json` as the last processor of a chain.

    Args:
        limits: See :func:`render_json`.
        on_error: See :func:`render_json`.
        strict: See :func:`render_json`.

    Picklable if *on_error* is.  Threads: thread-safe, holds no state.
    """

    __slots__ = ("_limits", "_on_error", "_strict")

    def __init__(
        self,
        *,
        limits: Limits = DEFAULT_LIMITS,
        on_error: OnError | None = None,
        strict: bool = False,
    ) -> None:
        self._limits = limits
        self._on_error = on_error
        self._strict = strict

    @property
    def limits(self) -> Limits:
        """What is kept of values that have no end."""
        return self._limits

    def __call__(self, _logger: Any, _method_name: str, event_dict: Mapping[str, Any], /) -> bytes:
        """Render the event."""
        return self.render(event_dict)

    def render(self, event_dict: Mapping[str, Any], /) -> bytes:
        """Render the event; the same without what processors are called with."""
        return render_json(
            event_dict, limits=self._limits, on_error=self._on_error, strict=self._strict
        )


def _plain(event: Any, limits: Limits) -> dict[Any, Any]:
    """Return *event*, or a copy, in which everything but the keys is of an exact builtin type.

    The encoder runs no Python code over such an event, so no other thread runs meanwhile.
    """
    if type(event) is not dict or len(event) > limits.max_items:
        raise NotPlainError
    text = 0
    for value in event.values():
        kind = type(value)
        if kind is str:
            text += len(value)
        elif not (kind is int or value is None or kind is bool or kind is float):
            return PlainCopy(limits).object(event, limits.max_depth)
    if text > limits.max_string or text > limits.max_text // 2:
        raise NotPlainError
    return event


class PlainCopy:
    """A quick copy of builtin containers; gives up on anything that needs a second thought.

    One for one event: the limits are those of all its calls together.

    Raises:
        NotPlainError: by both methods: the full sanitiser is needed.
    """

    __slots__ = ("_limits", "_nodes", "_text")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Half: up to there the sanitiser keeps everything too, so both give the same line.
        self._nodes = limits.max_nodes // 2
        self._text = min(limits.max_string, limits.max_text // 2)

    def object(self, source: dict[Any, Any], levels: int) -> dict[Any, Any]:
        """Return a copy of an object that may have so many *levels*."""
        self._enter(len(source), levels)
        shown = source.copy()  # one step, whatever other threads do to the source
        text = 0
        for key, value in shown.items():
            kind = type(value)
            if kind is str:
                text += len(value)
            elif not (kind is int or value is None or kind is bool or kind is float):
                shown[key] = self.value(value, kind, levels)
        self._charge(text)
        return shown

    def _array(self, source: list[Any] | tuple[Any, ...], levels: int) -> list[Any]:
        self._enter(len(source), levels)
        shown = list(source)
        text = 0
        for index, value in enumerate(shown):
            kind = type(value)
            if kind is str:
                text += len(value)
            elif not (kind is int or value is None or kind is bool or kind is float):
                shown[index] = self.value(value, kind, levels)
        self._charge(text)
        return shown

    def _charge(self, text: int) -> None:
        self._text -= text
        if self._text < 0:
            raise NotPlainError

    def _enter(self, size: int, levels: int) -> None:
        self._nodes -= size
        if levels <= 0 or self._nodes < 0 or size > self._limits.max_items:
            raise NotPlainError

    def value(self, value: Any, kind: type, levels: int) -> Any:
        """Return a copy of *value*, which is of type *kind* and none of the scalars."""
        if kind is dict:
            return self.object(value, levels - 1)
        if kind is list or kind is tuple:
            return self._array(value, levels - 1)
        if id(kind) in _QUICK_LEAVES:
            shown = LEAVES[id(kind)](value, self._limits)
        elif isinstance(kind, EnumMeta):
            shown = value._value_
        else:
            raise NotPlainError
        if type(shown) is str:
            self._charge(len(shown))
        elif not (type(shown) is int or shown is None or type(shown) is float):
            raise NotPlainError
        return shown


def _tell(on_error: OnError | None, stage: str, error: BaseException) -> None:
    if on_error is not None:
        with contextlib.suppress(Exception):  # the hook is how trouble is told; there is no other
            on_error(stage, error)


def _stub(event_dict: Any, failure: BaseException) -> bytes:
    """The event reduced to what identifies it; a constant if there is no room even for that."""
    try:
        stub: dict[str, Any] = {}
        for key in ("timestamp", "level", "logger", "event"):
            value = dict.get(event_dict, key) if isinstance(event_dict, dict) else None
            if type(value) is str:
                stub[key] = clean(cut(value, 1_000))
            elif value is not None:
                stub[key] = safe_repr(value, 1_000)
        stub.setdefault("event", f"<unrenderable {type_name(type(event_dict))}>")
        stub["render_error"] = cut(f"{type_name(type(failure))}: {safe_repr(failure)}", 1_000)
        return orjson.dumps(stub)
    except Exception:
        return _LAST_RESORT
