"""What an HTTP request carries: newline-delimited JSON, an array, or Loki's push document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from pylog_struct.errors import ConfigError
from pylog_struct.levels import level_label
from pylog_struct.sinks._checks import check_path
from pylog_struct.sinks._lookup import as_text, lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.record import Record

__all__ = ["CONTENT_TYPES", "BodyFormat", "LokiBody", "array", "ndjson"]

BodyFormat = Literal["ndjson", "array", "loki"]

CONTENT_TYPES: Final[dict[str, str]] = {
    "ndjson": "application/x-ndjson",
    "array": "application/json",
    "loki": "application/json",
}

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def ndjson(batch: Sequence[Record]) -> bytes:
    """One line a record.  A line break inside a record, which would be its end, becomes a space."""
    lines = [record[1] for record in batch]
    body = b"\n".join(lines) + b"\n"
    if body.count(b"\n") == len(lines):
        return body
    return b"\n".join([line.replace(b"\n", b" ") for line in lines]) + b"\n"


def array(batch: Sequence[Record]) -> bytes:
    """One JSON array.  A record that is no JSON object becomes ``{"event": text}``."""
    return b"[%b]" % b",".join([_document(record) for record in batch])


def _document(record: Record) -> bytes:
    line = record[1]
    if line[:1] == b"{":
        return line
    return orjson.dumps({"event": line.decode("utf-8", "replace")})


class LokiBody:
    """Makes the document of ``/loki/api/v1/push``.

    Loki keeps one stream of lines for each set of labels, so labels must have few values;
    what has many (a request's id) is *structured metadata* there, or stays in the line.

    Args:
        sink: The class to name in errors.
        labels: The same for every record.
        label_fields: Label → dotted path of the field to take it from; ``level`` is there without.
        metadata_fields: The same for structured metadata (Loki 3).

    Raises:
        ConfigError: a name that Loki does not take, or no path.
    """

    __slots__ = ("_fields", "_labels", "_metadata")

    def __init__(
        self,
        sink: str,
        labels: Mapping[str, str],
        label_fields: Mapping[str, str],
        metadata_fields: Mapping[str, str],
    ) -> None:
        self._labels = _names(labels, f"{sink}.labels", check=_text)
        self._fields = _names(label_fields, f"{sink}.label_fields", check=check_path)
        self._metadata = _names(metadata_fields, f"{sink}.metadata_fields", check=check_path)

    def __call__(self, batch: Sequence[Record]) -> bytes:
        """Return the body for *batch*."""
        streams: dict[tuple[str | None, ...], dict[str, Any]] = {}
        for record in batch:
            key = (level_label(record[0]), *self._values(record, self._fields))
            stream = streams.get(key)
            if stream is None:
                named = zip(self._fields, key[1:], strict=True)
                found = {name: value for name, value in named if value is not None}
                labels = {"level": key[0], **self._labels, **found}
                stream = streams[key] = {"stream": labels, "values": []}
            stream["values"].append(self._entry(record))
        return orjson.dumps({"streams": list(streams.values())})

    def _entry(self, record: Record) -> list[Any]:
        entry: list[Any] = [
            str(round(record[2] * 1e6) * 1000),
            record[1].decode("utf-8", "replace"),
        ]
        if self._metadata:
            named = zip(self._metadata, self._values(record, self._metadata), strict=True)
            entry.append({name: value for name, value in named if value is not None})
        return entry

    @staticmethod
    def _values(record: Record, paths: Mapping[str, str]) -> tuple[str | None, ...]:
        if not paths:
            return ()
        fields = record.fields
        return tuple(as_text(lookup(fields, path)) for path in paths.values())


def _names(value: Any, argument: str, *, check: Callable[[Any, str], str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        msg = f'{argument}: {value!r} is no mapping; use {{"name": "text"}}'
        raise ConfigError(msg)
    for name, text in value.items():
        if not isinstance(name, str) or _LABEL.fullmatch(name) is None:
            msg = f"{argument}: {name!r} is no name for Loki; use letters, digits and '_'"
            raise ConfigError(msg)
        check(text, f"{argument}[{name!r}]")
    return dict(value)


def _text(value: Any, argument: str) -> str:
    if not isinstance(value, str) or not value:
        msg = f"{argument}: {value!r} is no text"
        raise ConfigError(msg)
    return value
