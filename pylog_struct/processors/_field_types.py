"""What a field of an index takes: Elasticsearch's types, and which JSON values are rejected by each.

Values are exact builtins: ``str``, ``int``, ``float``, ``bool``.  Sources: the pages "Field data
types" and "Dynamic field mapping" of Elasticsearch's reference.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import date, time
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MISFIT", "OBJECTS", "as_text", "dynamic_type", "fitted", "looks_like_date", "passing"]

MISFIT: Final = object()
"""Returned for a value that a field of that type would reject."""

OBJECTS: Final = frozenset({"object", "nested"})
"""Types of fields that have fields."""

_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**63 - 1
_FLOAT_MAX: Final = 3.4028234663852886e38  # a decimal of JSON is mapped to a 32-bit float

_DATE: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?(?:Z|[+-]([01]\d:[0-5]\d))?)?"
)
# What some version of Elasticsearch might take for a date, whether it is one or not.
_DATE_LIKE: Final = re.compile(r"[+-]?\d{4,9}(?:-\d{1,2}(?:-\d{1,2}(?:[T ].*)?)?|T.*|/\d{1,2}.*)")


def as_text(value: Any) -> str:
    """Return any JSON value as text: a string as it is, anything else as it stands in JSON."""
    return value if type(value) is str else orjson.dumps(value).decode()


def looks_like_date(text: str) -> bool:
    """Whether an index might take *text* for a date; generous."""
    return text[:1] in _FIRST_OF_DATE and _DATE_LIKE.fullmatch(text) is not None


_FIRST_OF_DATE: Final = frozenset("0123456789+-")


def _is_date(text: str) -> bool:
    """Whether *text* is a date beyond doubt: ISO 8601, of a day and a time that exist."""
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    try:
        date.fromisoformat(match[1])
        if match[2]:
            time.fromisoformat(match[2] + (match[3] or "")[:3])
    except ValueError:
        return False
    return True


def dynamic_type(value: Any, *, dates: bool) -> str | None:
    """Return the type that a field gets from its first value.

    Args:
        value: A scalar.
        dates: Whether the index looks for dates in strings, as it does unless told otherwise.

    Returns:
        The type; None if there is no telling: a string that is a date for some and not for others.
    """
    kind = type(value)
    if kind is str:
        if not dates or not looks_like_date(value):
            return "text"
        return "date" if _is_date(value) else None
    if kind is bool:
        return "boolean"
    if kind is float:
        return "float"
    return "long" if _LONG_MIN <= value <= _LONG_MAX else "text"


def fitted(kind: str, value: Any) -> Any:
    """Return a scalar as a field of type *kind* takes it, or ``MISFIT``.

    Text fields take everything, as text, so that the type in the document is always the same.  Of
    types that are not known here (a vector, a range) nothing is said: the value passes.
    """
    if type(value) is float and value - value != 0:
        return None  # JSON has no word for it
    check = _CHECKS.get(kind)
    return value if check is None else check(value)


def passing(kind: str) -> frozenset[type]:
    """Return the Python types whose values pass a field of *kind* unchanged.

    Integers still have to be of 64 bits, and decimals of 32.
    """
    return _PASSING.get(kind, frozenset())


def _number_or_misfit(value: Any, low: float, high: float) -> Any:
    return value if type(value) in (int, float) and low <= value <= high else MISFIT


def _whole(low: int, high: int) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        # A fraction would be cut off in the index, unseen.
        whole = type(value) is int or (type(value) is float and value.is_integer())
        return value if whole and low <= value <= high else MISFIT

    return check


def _decimal(most: float) -> Callable[[Any], Any]:
    return lambda value: _number_or_misfit(value, -most, most)


def _boolean(value: Any) -> Any:
    return value if type(value) is bool else MISFIT


def _date(value: Any) -> Any:
    return value if type(value) is str and _is_date(value) else MISFIT


def _nanoseconds(value: Any) -> Any:
    # 64 bits of nanoseconds since 1970; the last whole year of them is 2261.
    return value if _date(value) is value and "1970" <= value[:4] <= "2261" else MISFIT


def _address(value: Any) -> Any:
    if type(value) is not str or "%" in value:
        return MISFIT
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return MISFIT
    return value


def _never(_value: Any) -> Any:
    return MISFIT


_TEXTS: Final = ("keyword", "wildcard", "text", "match_only_text", "version", "search_as_you_type")
_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(_TEXTS, as_text),
    "long": _whole(_LONG_MIN, _LONG_MAX),
    "integer": _whole(-(2**31), 2**31 - 1),
    "short": _whole(-(2**15), 2**15 - 1),
    "byte": _whole(-(2**7), 2**7 - 1),
    "unsigned_long": _whole(0, 2**64 - 1),
    "double": _decimal(1.7976931348623157e308),
    "float": _decimal(_FLOAT_MAX),
    "half_float": _decimal(65504.0),
    "scaled_float": _decimal(1e12),
    "boolean": _boolean,
    "date": _date,
    "date_nanos": _nanoseconds,
    "ip": _address,
    # One value for the whole index, and an object: no scalar of an event belongs there.
    **dict.fromkeys(
        ("constant_keyword", "flattened", "flat_object", "geo_point", *OBJECTS), _never
    ),
}
_NOTHING: Final = type(None)
_PASSING: Final[Mapping[str, frozenset[type]]] = {
    **dict.fromkeys(_TEXTS, frozenset({str, _NOTHING})),
    "long": frozenset({int, _NOTHING}),
    "float": frozenset({float, int, _NOTHING}),
    "double": frozenset({float, int, _NOTHING}),
    "boolean": frozenset({bool, _NOTHING}),
}
