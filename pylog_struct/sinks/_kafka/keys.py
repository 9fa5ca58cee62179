"""The key of a message: one field of the line, found without decoding the line where that is safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from pylog_struct.sinks._checks import check_path
from pylog_struct.sinks._lookup import as_text, lookup

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.record import Record

__all__ = ["key_reader"]

_BEFORE: Final = b",{"
_DIGITS: Final = 18  # more may be more than 64 bits, which a decoder writes in another way


def key_reader(path: str, argument: str) -> Callable[[Record], bytes | None]:
    """Return a function that reads the value at *path* from a record as a message key.

    Text is the key as it is (UTF-8); numbers, true and false as JSON writes them.  None, which
    leaves the partition to the producer, for a missing field, null, an object or an array.

    The line is searched for ``"path":`` and only decoded where that could be wrong: the name
    occurs twice, or behind another object (it may be inside of it), or as a dotted path, or the
    value is not plain.  Inside a JSON text every quote is escaped, so a name in quotes behind a
    comma or a brace is a name and never part of a value.

    Raises:
        ConfigError: *path* is not a dotted path.
    """
    quoted = orjson.dumps(check_path(path, argument))
    name = quoted + b":"
    size = len(name)
    dotted = "." in path

    def decoded(record: Record) -> bytes | None:
        text = as_text(lookup(record.fields, path))
        return None if text is None else text.encode("utf-8", "surrogatepass")

    def read(record: Record) -> bytes | None:
        line = record[1]
        at = line.find(name)
        if at < 1:
            # Missing, or a name with white space behind it, or nested under a dotted path.
            return decoded(record) if dotted or quoted in line or b"\\u" in line else None
        if (
            line[at - 1] not in _BEFORE
            or line[:1] != b"{"
            or line.find(b"{", 1, at) >= 0
            or line.find(quoted, at + size) >= 0
        ):
            return decoded(record)
        start = at + size
        if line[start : start + 1] == b'"':
            end = line.find(b'"', start + 1)
            value = line[start + 1 : end]
            return decoded(record) if end < 0 or b"\\" in value else value
        end = start
        while line[end : end + 1] not in {b",", b"}", b""}:
            end += 1
        value = line[start:end]
        if value == b"null":
            return None
        if (value.isdigit() and len(value) <= _DIGITS) or value in {b"true", b"false"}:
            return value
        return decoded(record)

    return read
