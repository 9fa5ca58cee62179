"""A field keeps the type that it had first, so that an index never has to reject a document.

An index takes a field's type from the first value that it sees, and from then on rejects every
*document* in which that field is of another type.  The guard decides in the process what the index
would decide: what does not fit goes somewhere else, and the rest of the event is stored.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Final

from pylog_struct import diagnostics, fork
from pylog_struct.errors import ConfigError
from pylog_struct.processors._field_types import OBJECTS, dynamic_type
from pylog_struct.processors.callsite import Callsite

__all__ = ["FULL", "OBSTRUCTED", "OneDocument", "TypeGuard"]

FULL: Final = "<full>"
"""Returned by ``learn``: as many fields are known as may be, and this is none of them."""

OBSTRUCTED: Final = "<obstructed>"
"""Returned by ``learn``: a part of the path is a value already, so there can be no field below it."""

_REPORTS_MAX: Final = 100  # fields that are reported in a process; conflicts go on being counted
_CALLSITE: Final = Callsite("pathname", "lineno")


class TypeGuard:
    """Remembers the type of each field by its dotted path.

    Args:
        mapping: Types that are known beforehand: ``{"http.response.status_code": "long"}``, or a
            mapping of Elasticsearch (the answer to ``GET index/_mapping``, of several indices the one
            whose name is the last: a data stream's newest; an index or component template, also as
            ``GET`` has it; or what is under ``mappings``).  They do not count towards *max_fields*.
        max_fields: How many fields, with the objects that they are in, are learned.  The default
            leaves room under the limit of 1,000 that an index has, where each string may take two.
        date_detection: Whether the index looks for dates in strings, as Elasticsearch does unless
            its mapping says ``"date_detection": false``.

    One guard may serve several renderers: it stands for one index.

    Raises:
        ConfigError: *mapping* is neither, or *max_fields* is no positive number.

    Threads: thread-safe; the lock is taken only for a field that was never seen.  Fork: the child
    goes on with what was known.  Memory: *max_fields* paths.
    """

    def __init__(
        self,
        mapping: Mapping[str, Any] | None = None,
        *,
        max_fields: int = 400,
        date_detection: bool = True,
    ) -> None:
        if isinstance(max_fields, bool) or not isinstance(max_fields, int) or max_fields < 1:
            raise ConfigError(
                f"TypeGuard.max_fields: {max_fields!r} is no whole number of at least 1"
            )
        if not isinstance(date_detection, bool):
            raise ConfigError(
                f"TypeGuard.date_detection: {date_detection!r} is neither True nor False"
            )
        self.max_fields = max_fields
        self.date_detection = date_detection
        self._given = _declared_types(mapping)
        self._types: dict[str, str] = dict(self._given)
        self._reported: set[str] = set()
        self._lock: Any = nullcontext()
        self._share()

    def _share(self) -> None:
        # Re-entrant: a signal handler may log while its thread is learning.
        self._lock = threading.RLock()
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()

    @property
    def fields(self) -> dict[str, str]:
        """A copy of what is known: path → type."""
        with self._lock:
            return dict(self._types)

    def type_of(self, path: str) -> str | None:
        """Return the type of a field, None if it is not known."""
        return self._types.get(path)

    def type_for(self, value: Any) -> str | None:
        """Return the type that a new field with this value would get; None if there is no telling."""
        return dynamic_type(value, dates=self.date_detection)

    def learn(self, path: str, kind: str) -> str:
        """Remember that *path* is of type *kind*, unless it is known to be something.

        Returns:
            The type that the field has from now on; ``FULL`` or ``OBSTRUCTED`` if it has none.
        """
        known = self._types.get(path)
        if known is not None:
            return known
        with self._lock:
            known = self._types.get(path)
            if known is not None:
                return known
            new = [path]
            parent = path.rpartition(".")[0]
            while parent:
                above = self._types.get(parent)
                if above is None:
                    new.append(parent)
                elif above in OBJECTS:
                    break
                else:
                    return OBSTRUCTED
                parent = parent.rpartition(".")[0]
            if len(self._types) - len(self._given) + len(new) > self.max_fields:
                return FULL
            for parent in reversed(new[1:]):
                self._types[parent] = "object"
            self._types[path] = kind
            return kind

    def report(self, path: str, text: str) -> None:
        """Say on the diagnostics channel what is wrong with a field, once, with the caller's line."""
        if path in self._reported or len(self._reported) >= _REPORTS_MAX:
            return
        self._reported.add(path)
        found = _CALLSITE(None, "", {})
        if "pathname" in found:
            text = f"{text}; first seen at {found['pathname']}:{found['lineno']}"
        diagnostics.report(f"field {path}", text, always=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._given, self.max_fields, self.date_detection))


class OneDocument(TypeGuard):
    """A guard for a single document: its fields agree with each other, whatever others were like."""

    def __init__(self) -> None:
        super().__init__(max_fields=2**31, date_detection=False)

    def _share(self) -> None:
        pass


def _rebuild(given: Mapping[str, str], max_fields: int, date_detection: bool) -> TypeGuard:
    return TypeGuard(given, max_fields=max_fields, date_detection=date_detection)


def _declared_types(mapping: Mapping[str, Any] | None) -> dict[str, str]:
    """Return path → type of what the argument ``mapping`` of a guard may be."""
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping):
        raise ConfigError(
            f"TypeGuard.mapping: {mapping!r} is neither a mapping such as"
            " {'http.response.status_code': 'long'} nor one of Elasticsearch"
        )
    found: dict[str, str] = {}
    flat = all(isinstance(kind, str) for kind in mapping.values())
    for path, kind in mapping.items() if flat else _walk(_properties(mapping), ""):
        if not isinstance(path, str) or not path:
            raise ConfigError(f"TypeGuard.mapping: {path!r} is no path of a field")
        found[path] = kind
    for path in list(found):
        parent = path.rpartition(".")[0]
        while parent:
            found.setdefault(parent, "object")
            parent = parent.rpartition(".")[0]
    return found


_STEPS: Final = (
    *("index_templates", "index_template", "component_templates", "component_template"),
    *("template", "mappings"),
)


def _properties(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a mapping, wherever the API's answer has them."""
    inner: Any = document
    for _ in _STEPS:
        if isinstance(inner, list) and len(inner) == 1:
            inner = inner[0]
        if not isinstance(inner, Mapping) or not inner:
            break
        if isinstance(inner.get("properties"), Mapping):
            return dict(inner["properties"])
        step = next((inner[key] for key in _STEPS if key in inner), None)
        if step is None:  # {"index name": {"mappings": …}, …}
            step = inner[max(inner, key=str)]
        inner = step
    raise ConfigError(
        "TypeGuard.mapping: there is no 'properties' in it; give path → type, or a mapping"
        " or a template of Elasticsearch"
    )


def _walk(properties: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in properties.items():
        path = f"{prefix}{name}"
        if not isinstance(field, Mapping):
            raise ConfigError(f"TypeGuard.mapping: {path}: {field!r} is no field")
        inner = field.get("properties")
        kind = field.get("type", "object")
        if not isinstance(kind, str) or kind == "alias":
            continue
        yield path, kind
        if isinstance(inner, Mapping):
            yield from _walk(inner, f"{path}.")
