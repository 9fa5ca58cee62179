"""The record: what sinks move."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Record"]


class _RecordFields(NamedTuple):
    level: int
    line: bytes
    created: float = 0.0


class Record(_RecordFields):
    """One rendered event: immutable, so nothing the application does later can change it.

    Attributes:
        level: Severity in the stdlib's numbers (10 debug … 50 critical).
        line: One JSON document, or one text line; never ends with a newline.
        created: When the log call was made, Unix time in seconds; 0.0 if unknown.

    Building one costs an allocation and no copy of the bytes; ``tuple.__new__(Record, (level,
    line, created))`` is the cheapest spelling, and the one of the hot path.
    """

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> NoReturn:
            msg = f"Record is immutable: cannot set {name!r}"
            raise AttributeError(msg)

    # No cached_property: in Python 3.11 it has a lock for all records, which the child of a fork
    # would inherit locked.
    @property
    def fields(self) -> Mapping[str, Any]:
        """The line decoded, read-only, on first use; ``{"event": text}`` for a line that is no JSON."""
        found: Mapping[str, Any] | None = self.__dict__.get("_decoded")
        if found is None:
            try:
                decoded = orjson.loads(self.line)
            except orjson.JSONDecodeError:
                decoded = None
            if not isinstance(decoded, dict):
                decoded = {"event": self.line.decode("utf-8", "replace")}
            found = self.__dict__["_decoded"] = MappingProxyType(decoded)
        return found

    def __reduce__(self) -> tuple[type[Record], tuple[int, bytes, float]]:
        return (Record, (self.level, self.line, self.created))
