"""``repr`` and ``str`` that return a bounded text whatever the object does."""

from __future__ import annotations

import re
import types
from collections import deque
from typing import Any, Final

from pylog_struct.processors import _bounded_call
from pylog_struct.processors import _snapshot as snapshot
from pylog_struct.processors._text import class_path, clean, cut, plain, type_name
from pylog_struct.processors.limits import DEFAULT_LIMITS

__all__ = ["integer_text", "safe_repr", "safe_str"]

_CONTAINER_ITEMS: Final = 50
_CONTAINER_DEPTH: Final = 5
_DIGITS_BITS: Final = 14_000  # just below Python's limit of 4,300 digits for int → str

# Classes whose repr runs nobody else's code.  By identity: hashing a class runs its metaclass.
_OWN_REPR: Final = frozenset(
    id(cls)
    for cls in (
        float, bool, type(None), complex, type(Ellipsis), type(NotImplemented), object, memoryview,
        types.FunctionType, types.BuiltinFunctionType, types.GeneratorType, types.CoroutineType,
        types.AsyncGeneratorType, types.CodeType, types.FrameType, types.TracebackType,
        re.Pattern, type(iter([])), type(iter(())), type(iter({})), type(iter("")), type(iter(set())),
    )
)  # fmt: skip
_CONTAINERS: Final[dict[int, tuple[str, str]]] = {
    id(list): ("[", "]"),
    id(tuple): ("(", ")"),
    id(set): ("{", "}"),
    id(frozenset): ("frozenset({", "})"),
    id(deque): ("deque([", "])"),
}
# str() of these exceptions, and of subclasses that do not override it, formats their arguments.
_OWN_STR: Final = frozenset(
    id(cls.__str__) for cls in (BaseException, KeyError, OSError, ImportError, BaseExceptionGroup)
)
_DEFAULT_REPR: Final = id(object.__repr__)
_ARGS: Final = BaseException.__dict__["args"].__get__
_SIMPLE: Final = frozenset(id(cls) for cls in (str, int, float, bool, type(None)))


def safe_repr(
    value: Any,
    max_length: int = DEFAULT_LIMITS.max_repr,
    *,
    seconds: float = DEFAULT_LIMITS.repr_seconds,
) -> str:
    """Return ``repr(value)``, or a text in angle brackets that says why there is none.

    ``<unrepresentable Foo: RuntimeError>`` for one that raises, recurses or returns no text,
    ``<unrepresentable Foo: repr took longer than 0.25 s>`` for one that does not come back.  After
    that the class is not asked again for a minute.  Builtin containers are shortened to 50 members
    and five levels.

    Args:
        value: Anything.
        max_length: Characters kept; a note says how many more there were.
        seconds: Time for a class that was not seen to be quick before.

    Raises:
        BaseException: no ``Exception``; only what a signal handler raises meanwhile.  One that the
            object raises itself is contained.

    Threads: thread-safe, re-entrant.  Blocks: up to *seconds*, see ``docs/explanation/rendering.md``.
    Where no thread can be started (interpreter shutdown) the class and address stand in.
    """
    try:
        return cut(clean(_repr(value, max_length, seconds, _CONTAINER_DEPTH)), max_length)
    except Exception as error:
        return _apology(value, error)


def safe_str(
    value: Any,
    max_length: int = DEFAULT_LIMITS.max_repr,
    *,
    seconds: float = DEFAULT_LIMITS.repr_seconds,
) -> str:
    """Return ``str(value)``, bounded and contained like :func:`safe_repr`."""
    try:
        cls = type(value)
        if cls is str:
            text = value
        elif issubclass(cls, BaseException) and _formats_itself(cls, value):
            text = plain(str(value))
        elif id(cls) in _SIMPLE or id(cls) in _CONTAINERS or cls is dict or cls is bytes:
            text = _repr(value, max_length, seconds, _CONTAINER_DEPTH)
        else:
            text = plain(_bounded_call.call(str, (value,), seconds, "str"))
        return cut(clean(text), max_length)
    except Exception as error:
        return _apology(value, error)


def _formats_itself(cls: type, error: BaseException) -> bool:
    return id(cls.__str__) in _OWN_STR and all(id(type(arg)) in _SIMPLE for arg in _ARGS(error))


def _repr(value: Any, room: int, seconds: float, depth: int) -> str:
    cls = type(value)
    if cls is str:
        return repr(value) if len(value) <= room else f"{value[:room]!r}… [{len(value)} characters]"
    if cls is int:
        return integer_text(value)
    if cls is bytes or cls is bytearray:
        return repr(value) if len(value) <= room else f"{value[:room]!r}… [{len(value)} bytes]"
    if id(cls) in _OWN_REPR:
        return repr(value)
    brackets = _CONTAINERS.get(id(cls))
    if brackets is not None or cls is dict:
        return _container_repr(value, room, seconds, depth, brackets or ("{", "}"))
    if issubclass(cls, type):
        return f"<class {class_path(value)!r}>"
    if id(cls.__repr__) == _DEFAULT_REPR:
        return _default_repr(value)
    return plain(_bounded_call.call(repr, (value,), seconds, "repr"))


def _container_repr(
    value: Any, room: int, seconds: float, depth: int, brackets: tuple[str, str]
) -> str:
    if not value:
        return repr(value)
    if depth == 0:
        return f"{brackets[0]}…{brackets[1]}"
    pairs = type(value) is dict
    members, left = (snapshot.pairs if pairs else snapshot.members)(value, _CONTAINER_ITEMS)
    parts: list[str] = []
    for member in members:
        if room <= 0:
            break
        halves = [_member(half, room, seconds, depth) for half in (member if pairs else (member,))]
        parts.append(": ".join(halves))
        room -= len(parts[-1]) + 2
    left += len(members) - len(parts)
    if left > 0:
        parts.append(f"… {left} more")
    comma = "," if type(value) is tuple and len(value) == 1 else ""
    return f"{brackets[0]}{', '.join(parts)}{comma}{brackets[1]}"


def _member(value: Any, room: int, seconds: float, depth: int) -> str:
    try:
        return cut(_repr(value, room, seconds, depth - 1), room)
    except Exception as error:  # one bad member must not cost the others
        return _apology(value, error)


def integer_text(value: int) -> str:
    """Return *value* in decimal; in hex if it has too many digits; its head if even that is long.

    Decimal takes quadratic time, and Python refuses it above ``sys.get_int_max_str_digits()``.
    """
    bits = value.bit_length()
    if bits <= _DIGITS_BITS:
        try:
            return str(value)
        except ValueError:  # somebody lowered Python's limit
            return hex(value)
    if bits <= 4 * _DIGITS_BITS:
        return hex(value)
    head = hex(abs(value) >> (bits - 256))
    return f"{'-' if value < 0 else ''}{head}… [{bits} bits]"


def _default_repr(value: Any) -> str:
    return f"<{class_path(type(value))} object at {id(value):#x}>"


def _apology(value: Any, error: BaseException) -> str:
    cls = type(value)
    try:
        if type(error) is _bounded_call.NotCalledError:
            return f"<unrepresentable {type_name(cls)}: {error.args[0]}>"
        return f"<unrepresentable {type_name(cls)}: {type_name(type(error))}>"
    except Exception:  # no memory or no stack left for even that
        return "<unrepresentable>"
