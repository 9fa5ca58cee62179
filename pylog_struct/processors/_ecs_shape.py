"""Where each field of an event goes in a document of the Elastic Common Schema.

Three places, tried in this order: where the caller put it; ``labels``, as a string, if it cannot
stand there; ``pylog.folded``, a map of strings, if there is no room for another field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pylog_struct.processors._ecs_fields import ecs_fields, ecs_objects
from pylog_struct.processors._ecs_names import is_claimed, is_sound, label_name, label_path
from pylog_struct.processors._field_types import (
    MISFIT,
    OBJECTS,
    as_text,
    fitted,
    looks_like_date,
)
from pylog_struct.processors.type_guard import FULL, OBSTRUCTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pylog_struct.processors.type_guard import TypeGuard

__all__ = ["FOLDED", "Shape", "is_claimed", "is_sound"]

FOLDED: Final = "pylog.folded"
"""The map of strings for fields beyond the number that an index may have."""

_GONE: Final = object()
_FLAT: Final = frozenset({"flattened", "flat_object"})
_EXACT: Final = 2**53  # up to here a decimal is as good as a whole number
_SHARE: Final = 4  # one field of an event may bring this part of all fields that can be learned
_COLLECTIONS: Final = frozenset({dict, list})
_KIND_NAMES: Final = {
    str: "str", bool: "bool", int: "long", float: "float", list: "list", dict: "object",
}  # fmt: skip


class Shape:
    """The part of one document that is the user's.

    Args:
        guard: What the types of the fields are.
        own: Paths that are in the document already.

    Attributes:
        fields: What stays where the caller put it, by the caller's own top-level keys.
        labels: What was re-homed: strings.
        folded: What there is no room for: strings.
        conflicts: Of each value that did not fit its field: the path, and what happened.
    """

    __slots__ = (
        "_ecs",
        "_empty",
        "_guard",
        "_room",
        "_taken",
        "conflicts",
        "fields",
        "folded",
        "labels",
    )

    def __init__(self, guard: TypeGuard, own: Iterable[str] = ()) -> None:
        self._guard = guard
        self._ecs = ecs_fields()
        self._taken = set(own)
        self._empty: dict[str, Any] = {}  # nulls, and arrays without a value in them
        self._room = guard.max_fields  # new fields that may still come
        self.fields: dict[str, Any] = {}
        self.labels: dict[str, str | None] = {}
        self.folded: dict[str, str] = {}
        self.conflicts: list[tuple[str, str]] = []

    def place(self, key: str, value: Any) -> None:
        """Find the place of one top-level field; *value* is of exact builtin types."""
        self._room = max(1, self._guard.max_fields // _SHARE)
        if key == "labels" and type(value) is dict:
            for name, label in value.items():
                self._labels_of(name, label)
            return
        if key.startswith("labels."):
            self._labels_of(key[7:], value)
            return
        if key.partition(".")[0] == "pylog":  # ours alone, whatever a mapping has there
            self._labels_of(key, value)
            return
        kept = self._keep(key, value) if self._sound(key) else self._label(key, value)
        if kept is not _GONE:
            self.fields[key] = kept

    def settle(self) -> None:
        """Move nulls, and arrays without a value, that stand where other fields have an object, or below a value."""
        if not self._empty:
            return
        above = {parent for path in self._taken for parent in _parents(path)}
        for path, value in self._empty.items():
            if path in above or not self._taken.isdisjoint(_parents(path)):
                _remove(self.fields, path)
                self._label(path, value)

    def note(self, path: str) -> None:
        """Take *path* for a field that is put into the document by somebody else."""
        self._taken.add(path)

    def relabel(self, key: str, value: Any) -> None:
        """Put a value into ``labels``, whatever it is."""
        self._label(key, value)

    def _sound(self, path: str) -> bool:
        return self._guard.type_of(path) is not None or is_sound(path)

    def _learn(self, path: str, kind: str) -> str:
        """Remember a field; an object of thousands must not use up what all others need."""
        if self._guard.type_of(path) is None:
            if self._room <= 0:
                return FULL
            self._room -= 1
        return self._guard.learn(path, kind)

    # -- where the caller put it ----------------------------------------------------------------

    def _keep(self, path: str, value: Any) -> Any:
        if type(value) is dict:
            return self._keep_object(path, value)
        if type(value) is list:
            return self._keep_array(path, value)
        return self._keep_scalar(path, value)

    def _keep_scalar(self, path: str, value: Any) -> Any:
        if value is None:
            if not self._admits_null(path):
                return self._label(path, None)
            self._empty[path] = None
            return self._take(path, None)
        kind = self._guard.type_of(path)
        if kind is None or kind in OBJECTS or path in self._taken:
            kind = self._settled(path, value, self._guard.type_for(value))
            if kind is None:
                return _GONE
        fit = fitted(kind, value)
        return self._misfit(path, kind, value) if fit is MISFIT else self._take(path, fit)

    def _admits_null(self, path: str) -> bool:
        """Whether a null, or an array without a value, may stand at *path*.

        It gives a field no type, so any will do; but an index makes objects of all that *path* is
        below, and refuses the document where one of them is a value.
        """
        if path in self._taken or (path not in self._ecs and is_claimed(path)):
            return False
        parent = path.rpartition(".")[0]
        kind = self._guard.type_of(parent)
        if kind is None and parent and not is_claimed(parent):
            kind = self._learn(parent, "object")
        return kind is None or kind in OBJECTS

    def _take(self, path: str, value: Any) -> Any:
        self._taken.add(path)
        return value

    def _settled(self, path: str, value: Any, dynamic: str | None) -> str | None:
        """Return the type of the field; None if *value* has been put elsewhere.

        Args:
            path: The field.
            value: What is to be put there.
            dynamic: The type that the field gets if it has none yet.
        """
        if path in self._taken:
            self._label(path, value)
            return None
        kind = self._guard.type_of(path)
        if kind is not None and not (kind in OBJECTS and is_claimed(path)):
            return kind
        declared = self._ecs.get(path)
        if declared is None:
            if is_claimed(path):
                self._outside_the_schema(path, value)
                return None
            declared = dynamic
        if declared is None:
            self._misfit(path, "a date or text", value)
            return None
        if type(value) not in _COLLECTIONS and fitted(declared, value) is MISFIT:
            self._misfit(path, declared, value)
            return None
        kind = self._learn(path, declared)
        if kind is FULL:
            self._fold(path, value)
            return None
        if kind is OBSTRUCTED:
            self._misfit(path, "below a value", value)
            return None
        return kind

    def _outside_the_schema(self, path: str, value: Any) -> None:
        """A name within the schema that is no field of it: ``http``, ``http.status``."""
        if path in ecs_objects():
            self.conflicts.append(
                (path, f"{path!r} is an object in ECS and got {_kind(value)}: see labels")
            )
        self._label(path, value)

    def _keep_object(self, path: str, value: dict[str, Any]) -> Any:
        if path in self._taken or (not value and is_claimed(path)):
            return self._label(path, value)
        kind = self._guard.type_of(path) or self._ecs.get(path)
        if kind in _FLAT:
            return self._take(path, value)
        if kind == "geo_point":
            return self._take(path, value) if _is_place(value) else self._misfit(path, kind, value)
        if kind is None and not is_claimed(path):
            kind = self._learn(path, "object")
            if kind is FULL:
                return self._fold(path, value)
        if kind is not None and kind not in OBJECTS:
            return self._misfit(path, kind, value)
        if not value:
            return self._take(path, value)
        kept: dict[str, Any] = {}
        for key, member in value.items():
            below = f"{path}.{key}"
            found = self._keep(below, member) if self._sound(below) else self._label(below, member)
            if found is not _GONE:
                kept[key] = found
        return kept or _GONE

    def _keep_array(self, path: str, value: list[Any]) -> Any:
        members = list(_scalars(value))
        if any(type(member) is dict for member in members):
            return self._keep_objects(path, value)
        dynamic = self._type_of_all(members)
        if not members:
            if not self._admits_null(path):
                return self._label(path, value)
            self._empty[path] = value
            return self._take(path, value)
        new = self._guard.type_of(path) is None
        kind = self._settled(path, value, dynamic)
        if kind is None:
            return _GONE
        fit = _mapped(kind, value)
        if new and kind == "float" and fit is not MISFIT:
            fit = _decimals(fit)  # the first member decides, and it could be a whole number
        return self._misfit(path, kind, value) if fit is MISFIT else self._take(path, fit)

    def _type_of_all(self, members: list[Any]) -> str | None:
        kinds = {self._guard.type_for(member) for member in members}
        if len(kinds) == 1:
            return kinds.pop()
        if kinds == {"long", "float"}:
            return "float" if all(-_EXACT <= member <= _EXACT for member in members) else None
        # The index asks the first member only; a date among other texts could be that one.
        return None if kinds & {None, "date"} else "text"

    def _keep_objects(self, path: str, value: list[Any]) -> Any:
        """An array of objects: to an index, the fields of all of them together."""
        kept: list[Any] = []
        whole = all(type(member) is dict for member in value) and path not in self._taken
        for member in value if whole else ():
            inner = Shape(self._guard, self._taken)
            inner._room = self._room
            kept.append(inner._keep_object(path, member))
            self._room = inner._room
            if inner.labels or inner.folded:
                whole = False
                self.conflicts.extend(inner.conflicts)
                break
        return kept if whole else self._misfit(path, "an array", value)

    # -- elsewhere --------------------------------------------------------------------------------

    def _misfit(self, path: str, kind: str, value: Any) -> Any:
        name = f"{path}_{_kind(value)}"
        self.conflicts.append(
            (
                path,
                f"field {path!r} ({kind}) does not take this {_kind(value)}: see {label_path(name)}",
            )
        )
        return self._label(name, value)

    def _labels_of(self, path: str, value: Any) -> None:
        if type(value) is dict and value:
            for key, member in value.items():
                self._labels_of(f"{path}_{key}", member)
        else:
            self._label(path, value)

    def _label(self, path: str, value: Any) -> Any:
        """Put *value* into ``labels`` as text, under a name that is free."""
        name = base = label_name(path)
        number = 2
        while name in self.labels or f"labels.{name}" in self._taken:
            name, number = f"{base}_{number}", number + 1
        if value is None:
            self.labels[name] = None
            return _GONE
        text = as_text(value)
        guard = self._guard
        if guard.type_of("labels") in _FLAT:
            self.labels[name] = text
            return _GONE
        kind = guard.type_for(text)
        if kind is None:
            text, kind = as_text([text])[1:-1], "text"
        kind = self._learn(f"labels.{name}", kind)
        if fitted(kind, text) is MISFIT and kind not in (FULL, OBSTRUCTED):
            name = f"{name}_str"
            if guard.date_detection and looks_like_date(text):
                text = as_text([text])[1:-1]
            kind = self._learn(f"labels.{name}", "text")
        if kind in (FULL, OBSTRUCTED) or name in self.labels or fitted(kind, text) is MISFIT:
            return self._fold(f"labels.{name}", text)
        self.labels[name] = text
        return _GONE

    def _fold(self, path: str, value: Any) -> Any:
        name = base = label_name(path)
        number = 2
        while name in self.folded:
            name, number = f"{base}_{number}", number + 1
        self.folded[name] = as_text(value)
        return _GONE


def _kind(value: Any) -> str:
    return _KIND_NAMES.get(type(value), "null")


def _scalars(value: list[Any]) -> Iterable[Any]:
    """The members of an array and of the arrays in it, nulls left out; objects as they are."""
    for member in value:
        if type(member) is list:
            yield from _scalars(member)
        elif member is not None:
            yield member


def _mapped(kind: str, value: list[Any]) -> Any:
    """Return the array as a field of that type takes it, ``MISFIT`` if one member does not fit."""
    shown: list[Any] = []
    for member in value:
        fit = member
        if type(member) is list:
            fit = _mapped(kind, member)
        elif member is not None:
            fit = fitted(kind, member)
        if fit is MISFIT:
            return MISFIT
        shown.append(fit)
    return shown


def _parents(path: str) -> Iterable[str]:
    while path := path.rpartition(".")[0]:
        yield path


def _remove(holder: dict[str, Any], path: str) -> None:
    """Take the null or the array at *path* out, in whatever spelling it is there."""
    for key, member in list(holder.items()):
        if key == path and (member is None or type(member) is list):
            del holder[key]
        elif type(member) is dict and path.startswith(f"{key}."):
            _remove(member, path[len(key) + 1 :])
            if not member:
                del holder[key]


def _decimals(value: Any) -> Any:
    """Return an array with its whole numbers written as decimals."""
    if type(value) is list:
        return [_decimals(member) for member in value]
    return float(value) if type(value) is int else value


def _is_place(value: dict[str, Any]) -> bool:
    """Whether an object is a point on the globe."""
    if value.keys() != {"lat", "lon"}:
        return False
    bounds = ((value["lat"], 90), (value["lon"], 180))
    return all(type(angle) in (int, float) and -most <= angle <= most for angle, most in bounds)
