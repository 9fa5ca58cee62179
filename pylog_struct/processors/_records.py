"""Objects with fields, and foreign containers: what members each kind has.

Nothing is imported for the sake of a library: a class is recognised by the attributes that its
library puts on the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.processors import _bounded_call
from pylog_struct.processors._text import type_name

if TYPE_CHECKING:
    from pylog_struct.processors.limits import Limits

__all__ = ["fields_of", "foreign_items", "foreign_members", "numpy_value"]

_UNSET: Final = "<unset>"
_ATTEMPTS: Final = 100
# Views of a dict that other threads may change: these can be tried again.
_VIEWS: Final[tuple[type, ...]] = (
    MappingProxyType,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)

_MRO: Final = type.__dict__["__mro__"].__get__


def _class_attribute(cls: type, name: str) -> Any:
    """What the class or a base says; an instance (a mock, a proxy) cannot make one up."""
    for base in _MRO(cls):
        found = type.__dict__["__dict__"].__get__(base).get(name)
        if found is not None:
            return found
    return None


def fields_of(value: Any, cls: type, limits: Limits) -> list[tuple[Any, Any]] | None:
    """Return the fields of a dataclass, attrs, namedtuple, msgspec or pydantic object, or None.

    A field that was declared with ``repr=False`` is left out: that is how a secret or a bulky
    field is marked.  One that was never set becomes ``"<unset>"``.
    """
    if isinstance(found := _class_attribute(cls, "__pydantic_fields__"), dict):
        dumped = _bounded_call.call(_dump_model, (value,), limits.repr_seconds, "model_dump")
        hidden = {name for name, field in found.items() if getattr(field, "repr", True) is False}
        if type(dumped) is not dict:  # a RootModel: its one value stands for it
            return [("root", dumped)]
        return [(name, item) for name, item in dumped.items() if name not in hidden]
    names: list[Any] | None = None
    if isinstance(found := _class_attribute(cls, "__dataclass_fields__"), dict):
        # "_FIELD" marks a real field; ClassVar and InitVar pseudo-fields are kept beside them.
        names = [
            name
            for name, field in found.items()
            if field.repr and field._field_type.name == "_FIELD"
        ]
    elif isinstance(found := _class_attribute(cls, "__attrs_attrs__"), tuple):
        names = [field.name for field in found if field.repr is not False]
    elif isinstance(found := _class_attribute(cls, "__struct_fields__"), tuple):
        names = list(found)
    elif issubclass(cls, tuple) and isinstance(found := _class_attribute(cls, "_fields"), tuple):
        return list(zip(found, tuple.__iter__(value), strict=False))
    if names is None:
        return None
    read: list[tuple[Any, Any]] = _bounded_call.call(
        _read, (value, names), limits.repr_seconds, "fields"
    )
    return read


def _read(value: Any, names: list[Any]) -> list[tuple[Any, Any]]:
    return [(name, _field(value, name)) for name in names]


def _field(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, _UNSET)
    except Exception as error:  # a descriptor that raises: the other fields are still good
        return error


def _dump_model(value: Any) -> Any:
    return value.model_dump(mode="python")


def foreign_items(
    value: Any, cls: type, limits: Limits
) -> tuple[list[tuple[Any, Any]], int] | None:
    """Return items of a ``Mapping`` that is no ``dict``, and how many more it says it has."""
    if not issubclass(cls, Mapping):
        return None
    found: tuple[list[tuple[Any, Any]], int] = _bounded_call.call(
        _items, (value, limits.max_items), limits.repr_seconds, "items"
    )
    return found


def foreign_members(value: Any, cls: type, limits: Limits) -> tuple[list[Any], int] | None:
    """Return members of a ``Sequence``, ``Set`` or dict view, and how many more it says it has.

    Iterators and generators are none of these: they are never consumed.
    """
    if cls is range or not (cls in _VIEWS or issubclass(cls, Sequence | AbstractSet)):
        return None
    found: tuple[list[Any], int] = _bounded_call.call(
        _members, (value, limits.max_items), limits.repr_seconds, "iteration"
    )
    return found


def _items(value: Any, most: int) -> tuple[list[tuple[Any, Any]], int]:
    found = [(key, item) for key, item in _taken(value, type(value).items, most)]
    return found, max(0, len(value) - most) if len(found) == most else 0


def _members(value: Any, most: int) -> tuple[list[Any], int]:
    found = _taken(value, iter, most)
    return found, max(0, len(value) - most) if len(found) == most else 0


def _taken(value: Any, iterate: Any, most: int) -> list[Any]:
    if type(value) in _VIEWS:
        for _ in range(_ATTEMPTS):
            try:
                return list(islice(iterate(value), most))
            except RuntimeError:  # "changed size during iteration"
                continue
    return list(islice(iterate(value), most))


def numpy_value(value: Any, cls: type, limits: Limits) -> tuple[Any] | None:
    """Return the plain value of a numpy scalar or array in a 1-tuple, or a note if it is too big."""
    module = cls.__module__
    if not isinstance(module, str) or module.partition(".")[0] != "numpy":
        return None
    unwrapped: tuple[Any] | None = _bounded_call.call(
        _unwrap, (value, cls, limits.max_items), limits.repr_seconds, "tolist"
    )
    return unwrapped


def _unwrap(value: Any, cls: type, most: int) -> tuple[Any] | None:
    size = getattr(value, "size", None)
    if type(size) is not int or not hasattr(value, "tolist"):
        return None
    if size > most:
        return (f"<{type_name(cls)} of {size} elements, shape {value.shape}, type {value.dtype}>",)
    plain = value.tolist()
    return None if type(plain) is cls else (plain,)
