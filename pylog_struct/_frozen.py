"""Immutable values with named fields: dataclasses, without the time that those take to import.

``@dataclass(frozen=True)`` writes six functions for every class and has them compiled: half a
millisecond of every start for each class, while few instances are ever made of ours.  Here the same
functions are written once, for all.  The classes are dataclasses in every other respect: ``fields``,
``replace``, ``asdict``, ``match`` and ``FrozenInstanceError`` work.
"""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, dataclass_transform, overload

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["frozen"]

_T = TypeVar("_T")


@overload
def frozen(cls: type[_T], /) -> type[_T]: ...
@overload
def frozen(*, kw_only: bool) -> Callable[[type[_T]], type[_T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_T] | None = None, /, *, kw_only: bool = False) -> Any:
    """Do what ``@dataclass(frozen=True, slots=True)`` does; for classes of which few instances are made."""

    def make(plain: type[_T]) -> type[_T]:
        made = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(plain)
        for name, function in _METHODS.items():
            setattr(made, name, function)
        made.__signature__ = _Signature()  # type: ignore[attr-defined]
        return made

    return make if cls is None else make(cls)


class _Signature:
    """What ``help`` and editors show: made when somebody asks."""

    def __get__(self, _instance: object, owner: type) -> Any:
        from inspect import Parameter, Signature  # noqa: PLC0415 - a slow import, rarely wanted

        shown = []
        for each in fields(owner):
            default: Any = Parameter.empty
            if each.default is not MISSING:
                default = each.default
            elif each.default_factory is not MISSING:
                default = each.default_factory
            kind = Parameter.KEYWORD_ONLY if each.kw_only else Parameter.POSITIONAL_OR_KEYWORD
            shown.append(Parameter(each.name, kind, default=default, annotation=each.type))
        shown.sort(key=lambda parameter: parameter.kind)
        return Signature(shown)


def _init(self: Any, *args: Any, **given: Any) -> None:
    owner, declared = type(self).__name__, fields(self)
    positions = [each.name for each in declared if not each.kw_only]
    if len(args) > len(positions):
        msg = f"{owner}() takes {len(positions)} positional arguments but {len(args)} were given"
        raise TypeError(msg)
    for name, value in zip(positions, args, strict=False):
        if name in given:
            msg = f"{owner}() got multiple values for argument {name!r}"
            raise TypeError(msg)
        given[name] = value
    for each in declared:
        if each.name in given:
            value = given.pop(each.name)
        elif each.default is not MISSING:
            value = each.default
        elif each.default_factory is not MISSING:
            value = each.default_factory()
        else:
            msg = f"{owner}() missing required argument {each.name!r}"
            raise TypeError(msg)
        object.__setattr__(self, each.name, value)
    if given:
        msg = f"{owner}() got an unexpected keyword argument {next(iter(given))!r}"
        raise TypeError(msg)
    check = getattr(self, "__post_init__", None)
    if check is not None:
        check()


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, each.name) for each in fields(self)])


def _repr(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _set(_self: Any, name: str, _value: object) -> NoReturn:
    msg = f"cannot assign to field {name!r}"
    raise FrozenInstanceError(msg)


def _delete(_self: Any, name: str) -> NoReturn:
    msg = f"cannot delete field {name!r}"
    raise FrozenInstanceError(msg)


def _restore(self: Any, values: tuple[Any, ...]) -> None:
    for each, value in zip(fields(self), values, strict=True):
        object.__setattr__(self, each.name, value)


_METHODS = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _set,
    "__delattr__": _delete,
    "__getstate__": _values,
    "__setstate__": _restore,
}
