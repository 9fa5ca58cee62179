"""Positional arguments: ``log.info("took %d ms", 12)``, formatted with ``%`` as the stdlib does.

Braces are never formatted: text that contains them is data.  Nothing that a message or an argument
contains makes the call fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from pylog_struct.processors import _bounded_call
from pylog_struct.processors._text import clean, cut, type_name
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits
from pylog_struct.processors.safe_repr import safe_repr, safe_str

__all__ = ["interpolate", "positional_arguments"]

_PLAIN: Final = frozenset(id(cls) for cls in (str, int, float, bool, type(None)))
_WIDTH_MAX: Final = 10_000
_DIGITS_MAX: Final = 4_300  # as Python's own limit for int → str
# A width or precision with that many digits makes one small argument fill the memory.  Each
# pattern is linear in the text: none of them can run on over a second "%".
_WIDE: Final = re.compile(r"%[#0\- +.\d]*\d{5}")
_WIDE_NAMED: Final = re.compile(r"\)[#0\- +.\d]*\d{5,}[hlL]?[a-zA-Z]")
_STARRED: Final = re.compile(r"%[#0\- +.\d]*\*")


class _Shown:
    """An argument whose ``str`` and ``repr`` are bounded and contained."""

    __slots__ = ("_limits", "_value")

    def __init__(self, value: Any, limits: Limits) -> None:
        self._value = value
        self._limits = limits

    def __str__(self) -> str:
        return safe_str(self._value, self._limits.max_repr, seconds=self._limits.repr_seconds)

    def __repr__(self) -> str:
        return safe_repr(self._value, self._limits.max_repr, seconds=self._limits.repr_seconds)

    # %d, %x and %f ask the number that they are given.
    def __int__(self) -> int:
        return int(self._number(_as_int))

    def __index__(self) -> int:
        return int(self._number(_as_index))

    def __float__(self) -> float:
        return float(self._number(_as_float))

    def _number(self, convert: Any) -> Any:
        seconds = self._limits.repr_seconds
        return _bounded_call.call(convert, (self._value,), seconds, "conversion to a number")


def _as_int(value: Any) -> int:
    # Ten million digits fit into eleven characters, and int() of that takes minutes.
    if issubclass(type(value), Decimal) and Decimal.adjusted(value) > _DIGITS_MAX:
        raise ValueError(f"more than {_DIGITS_MAX} digits")
    return int(_numeric(value, "__int__")(value))


def _as_index(value: Any) -> int:
    return int(_numeric(value, "__index__")(value))


def _as_float(value: Any) -> float:
    return float(_numeric(value, "__float__")(value))


def _numeric(value: Any, method: str) -> Any:
    # Not int(value): that would also take text and bytes, which %d refuses.
    found = getattr(type(value), method, None)
    if found is None:
        # Not a TypeError: % replaces those by one of its own that names the stand-in.
        raise ValueError(f"a number is required, not {type_name(type(value))}")
    return found


class _Named(_Shown):
    """A mapping whose values are looked up one by one: it may have no end."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        return _shown(self._value[key], self._limits)


def interpolate(
    event: Any, args: tuple[Any, ...], *, limits: Limits = DEFAULT_LIMITS
) -> tuple[Any, str | None]:
    """Return the event's text, and why its arguments could not be put into it (None if they were).

    Without arguments nothing is formatted: a lone ``%`` stays.  One non-empty mapping is looked
    up by name, ``log.info("%(user)s", {"user": "ann"})``.  When formatting fails the text comes
    back verbatim; the caller keeps the arguments (:func:`positional_arguments`).

    ``bytes`` become text and an exception becomes ``Type: message``; any other event that is no
    text comes back as it is.

    Args:
        event: What the log call was given.
        args: Its positional arguments.
        limits: Bounds on the text of each argument.

    Raises:
        BaseException: no ``Exception``; only what a signal handler raises meanwhile.

    Threads: thread-safe.  Blocks: see :func:`safe_repr`.
    """
    text = _as_text(event, limits)
    if not args:
        return text, None
    if type(text) is not str:
        return text, f"TypeError: an event of type {type_name(type(event))} takes no arguments"
    try:
        return _formatted(text, args, limits), None
    except Exception as error:
        return text, cut(f"{type_name(type(error))}: {safe_str(error)}", limits.max_repr)


def positional_arguments(args: tuple[Any, ...], *, limits: Limits = DEFAULT_LIMITS) -> list[str]:
    """Return the ``repr`` of each argument, bounded: what goes under ``positional_args``."""
    shown = [
        safe_repr(arg, limits.max_repr, seconds=limits.repr_seconds)
        for arg in args[: limits.max_items]
    ]
    left = len(args) - len(shown)
    return [*shown, f"<… {left} more>"] if left else shown


def _as_text(event: Any, limits: Limits) -> Any:
    kind = type(event)
    if kind is str:
        return event
    try:
        if issubclass(kind, str):
            return str.__str__(event)
        if issubclass(kind, bytes | bytearray):
            head = bytes(event[: limits.max_string]).decode("utf-8", "backslashreplace")
            left = len(event) - limits.max_string
            return f"{head}… [{left} more bytes]" if left > 0 else head
        if issubclass(kind, BaseException):
            message = safe_str(event, limits.max_message, seconds=limits.repr_seconds)
            return clean(f"{type_name(kind)}: {message}" if message else type_name(kind))
    except Exception:  # an odd subclass: the renderer shows it
        return event
    return event


def _formatted(text: str, args: tuple[Any, ...], limits: Limits) -> str:
    by_name = len(args) == 1 and issubclass(type(args[0]), Mapping) and len(args[0]) > 0
    if _WIDE.search(text) is not None or (by_name and _WIDE_NAMED.search(text) is not None):
        raise ValueError(f"a width or precision of {_WIDTH_MAX} or more")
    if _STARRED.search(text) is not None and any(
        isinstance(arg, int) and abs(arg) >= _WIDTH_MAX for arg in args
    ):
        raise ValueError(f"* with a number of {_WIDTH_MAX} or more among the arguments")
    if by_name:
        return text % _Named(args[0], limits)
    return text % tuple([_shown(arg, limits) for arg in args])


def _shown(value: Any, limits: Limits) -> Any:
    return value if id(type(value)) in _PLAIN else _Shown(value, limits)
