"""Values without members: what each kind of scalar becomes in JSON.

The functions take ``(value, limits)`` and return a string, a number or None.  They call methods of
the builtin class, not of the instance, so that an overriding subclass cannot lie.  They may raise:
the caller contains that.
"""

from __future__ import annotations

import datetime as dt
import sys
import types
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pylog_struct.processors import _bounded_call
from pylog_struct.processors._text import class_path, clean, cut, plain, type_name
from pylog_struct.processors.safe_repr import integer_text, safe_str

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction
    from pathlib import PurePath

    from pylog_struct.processors.limits import Limits

__all__ = ["LEAVES", "Leaf", "bring_in_late", "error_text"]

Leaf = str | int | float | None

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1

# Besides zoneinfo's, which takes long to import: of a class not imported there is no instance.
_KNOWN_ZONES: Final = frozenset((id(type(None)), id(dt.timezone)))


def integer(value: int, _limits: Limits) -> Leaf:
    """A number where 64 bits hold it, else a string."""
    exact = int.__int__(value)
    return exact if _INT_MIN <= exact <= _INT_MAX else integer_text(exact)


def number(value: float, _limits: Limits) -> Leaf:
    """A number; None for NaN and the infinities, for which JSON has no words."""
    exact = float.__float__(value)
    return exact if exact - exact == 0 else None


def decimal(value: Decimal, _limits: Limits) -> Leaf:
    """A string: as a JSON number it would be read back as a rounded double."""
    return Decimal.__str__(value) if Decimal.is_finite(value) else None


def fraction(value: Fraction, _limits: Limits) -> Leaf:
    """``numerator/denominator``."""
    return f"{integer_text(int(value.numerator))}/{integer_text(int(value.denominator))}"


def complex_number(value: complex, _limits: Limits) -> Leaf:
    """The text that Python prints, ``(1+2j)``."""
    return complex.__repr__(value)


def binary(value: bytes | bytearray, limits: Limits) -> Leaf:
    r"""The text, if it is UTF-8; else with each odd byte as its escape ``\xff``."""
    base: Any = bytes if isinstance(value, bytes) else bytearray
    size = base.__len__(value)
    head = bytes(base.__getitem__(value, slice(0, limits.max_string)))
    return _decoded(head, size)


def view(value: memoryview, limits: Limits) -> Leaf:
    """Like the bytes that it shows."""
    if value.nbytes > limits.max_string and not (value.ndim == 1 and value.itemsize == 1):
        return f"<memoryview of {value.nbytes} bytes>"
    return _decoded(
        bytes(value[: limits.max_string]) if value.ndim == 1 else value.tobytes(), value.nbytes
    )


def _decoded(head: bytes, size: int) -> str:
    text = head.decode("utf-8", "backslashreplace")
    return text if size == len(head) else f"{text}… [{size - len(head)} more bytes]"


def moment(value: dt.datetime, limits: Limits) -> Leaf:
    """RFC 3339 in UTC with a ``Z``; a naive one without it, which is its mark."""
    naive = dt.datetime(  # noqa: DTZ001 - the digits alone, before any zone is asked
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
    )
    text = naive.isoformat(timespec="microseconds")
    zone = value.tzinfo
    if zone is None:
        return text
    offset = _offset(zone, value, limits)
    if isinstance(offset, str):
        return text + offset
    if offset is None:
        return text
    try:
        return (naive - offset).isoformat(timespec="microseconds") + "Z"
    except OverflowError:  # the first or last day of the calendar
        return text + _offset_text(offset)


def _offset(zone: dt.tzinfo, value: Any, limits: Limits) -> dt.timedelta | str | None:
    """The zone's offset; a note where the zone misbehaves; None where it says that it has none."""
    try:
        if id(type(zone)) in _KNOWN_ZONES or type(zone) is _zone_info():
            offset: Any = value.utcoffset()
        else:
            offset = _bounded_call.call(
                _ask, (value,), limits.repr_seconds, "tzinfo", owner=type(zone)
            )
    except _bounded_call.NotCalledError as error:
        return f" <{type_name(type(zone))}: {error.args[0]}>"
    except Exception as error:
        return f" <{type_name(type(zone))}: {type_name(type(error))}>"
    return offset if type(offset) is dt.timedelta else None


def _zone_info() -> type | None:
    return getattr(sys.modules.get("zoneinfo"), "ZoneInfo", None)


def _ask(value: dt.datetime | dt.time) -> Any:
    base: Any = dt.datetime if isinstance(value, dt.datetime) else dt.time
    return base.utcoffset(value)


def _offset_text(offset: dt.timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def day(value: dt.date, _limits: Limits) -> Leaf:
    """ISO 8601, ``2024-02-29``."""
    return dt.date(value.year, value.month, value.day).isoformat()


def time_of_day(value: dt.time, limits: Limits) -> Leaf:
    """ISO 8601 with six digits, and the offset if it has one."""
    naive = dt.time(value.hour, value.minute, value.second, value.microsecond)
    text = naive.isoformat(timespec="microseconds")
    if value.tzinfo is None:
        return text
    offset = _offset(value.tzinfo, value, limits)
    if offset is None:
        return text
    return text + (offset if isinstance(offset, str) else _offset_text(offset))


def duration(value: dt.timedelta, _limits: Limits) -> Leaf:
    """Seconds, as a number."""
    return dt.timedelta.total_seconds(value)


def identifier(value: UUID, _limits: Limits) -> Leaf:
    """The usual hexadecimal form."""
    return UUID.__str__(value)


def path(value: PurePath, _limits: Limits) -> Leaf:
    """The path as text."""
    return str(value)


def error_text(value: BaseException, limits: Limits) -> Leaf:
    """``Type: message``."""
    message = safe_str(value, limits.max_repr, seconds=limits.repr_seconds)
    name = class_path(type(value))
    return f"{name}: {message}" if message else name


def class_text(value: type, _limits: Limits) -> Leaf:
    """``module.Name``."""
    return class_path(value)


def named(value: Any, _limits: Limits) -> Leaf:
    """``module.name`` of a function or method."""
    module, name = value.__module__, value.__qualname__
    if not isinstance(name, str):
        raise TypeError
    return f"{plain(module)}.{plain(name)}" if isinstance(module, str) else plain(name)


def text(value: str, limits: Limits) -> Leaf:
    """The characters of a ``str`` subclass."""
    return cut(clean(plain(value)), limits.max_string)


_KINDS: Final[tuple[tuple[type, Callable[[Any, Limits], Leaf]], ...]] = (
    (int, integer),
    (float, number),
    (str, text),
    (bytes, binary),
    (bytearray, binary),
    (memoryview, view),
    (dt.datetime, moment),
    (dt.date, day),
    (dt.time, time_of_day),
    (dt.timedelta, duration),
    (UUID, identifier),
    (Decimal, decimal),
    (complex, complex_number),
    (BaseException, error_text),
    (type, class_text),
    (types.FunctionType, named),
    (types.BuiltinFunctionType, named),
    (types.MethodType, named),
    (types.MethodWrapperType, named),
)
LEAVES: Final[dict[int, Callable[[Any, Limits], Leaf]]] = {id(cls): leaf for cls, leaf in _KINDS}
"""By the identity of a builtin class (hashing a class would run its metaclass)."""

# Classes that few events have, of modules that take long to import.
_LATE: Final[dict[str, tuple[str, Callable[[Any, Limits], Leaf]]]] = {
    "fractions": ("Fraction", fraction),
    "pathlib": ("PurePath", path),
}
_missing: Final = set(_LATE)
_kept: Final[list[type]] = []  # so that their identity stays theirs


def bring_in_late() -> None:
    """Add the classes of modules that were imported meanwhile: of others there is no instance."""
    for module in tuple(_missing):
        name, leaf = _LATE[module]
        cls = getattr(sys.modules.get(module), name, None)
        if cls is not None:
            _kept.append(cls)
            LEAVES[id(cls)] = leaf
            _missing.discard(module)
