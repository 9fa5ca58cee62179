"""The files of prometheus-client's multiprocess mode: their names and their contents.

A worker keeps one file for each kind of metric, ``<kind>_<pid>.db``, and changes it in place through
a mapping.  Beside those there may be two names of ours, both made so that prometheus-client's own
``MultiProcessCollector`` reads them as the same kind:

- ``<kind>_folded.db``, the archive: the values of all dead workers.  After the part that is in use,
  which nobody else reads beyond, comes a list of the files that are contained in it.
- ``<kind>_<pid>-dead-<token>.db``, a dead worker's file on its way into the archive.  The token makes
  the name the only one of its kind ever: whether it is contained is known by the name.

Source: prometheus_client/mmap_dict.py, versions 0.20 to 0.26.
"""
# system calls as such: what is atomic matters here
# ruff: noqa: PTH118, PTH123, PTH208

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ARCHIVE",
    "Contents",
    "CorruptFileError",
    "ValueFile",
    "Values",
    "archive_name",
    "claimed_name",
    "encode",
    "listing",
    "read",
    "read_archive",
]

ARCHIVE: Final = "folded"
"""What an archive has where the file of a worker has its pid."""

Values: TypeAlias = "dict[bytes, tuple[float, float]]"
"""By the key as it is in the file (JSON), the value and its time."""

_NAME: Final = re.compile(r"(counter|histogram|summary|gauge_([a-z]+))_(.+)\.db")
_OWNER: Final = re.compile(r"([1-9][0-9]{0,9})(-dead-[0-9a-f]{16})?")
_MARK: Final = b"\npylog_struct: contains\n"
_FIRST_READ: Final = 4096
_HEADER: Final = struct.Struct("i4x")
_LENGTH: Final = struct.Struct("i")
_PAIR: Final = struct.Struct("dd")


class CorruptFileError(ValueError):
    """A file that prometheus-client did not write like this."""


class ValueFile(NamedTuple):
    """A file in the directory, known by its name."""

    path: str
    name: str
    kind: str
    """With the mode of a gauge: ``gauge_livesum``."""
    mode: str
    """Of a gauge; nothing for the others."""
    owner: str
    """Whose it is: a pid, or whatever the application identifies its processes by."""
    pid: int | None
    """None if the owner is no pid."""
    claimed: bool
    """Whether it was renamed on its way into the archive."""

    @property
    def is_archive(self) -> bool:
        """Whether it is the archive of its kind."""
        return self.owner == ARCHIVE


class Contents(NamedTuple):
    """What an archive holds."""

    values: Values
    contained: frozenset[str]
    """Names of the files whose values are in it already."""


def listing(directory: str) -> list[ValueFile]:
    """Return the files with values in *directory*, by name; whatever else is there is not looked at."""
    found = []
    for name in sorted(os.listdir(directory)):
        parts = _NAME.fullmatch(name)
        if parts is None:
            continue
        kind, mode, owner = parts.groups()
        pid = _OWNER.fullmatch(owner)
        if pid:
            owner = pid[1]
        found.append(
            ValueFile(
                os.path.join(directory, name),
                name,
                kind,
                mode or "",
                owner,
                int(owner) if pid else None,
                bool(pid and pid[2]),
            )
        )
    return found


def archive_name(kind: str) -> str:
    """Return the name of the archive of a kind."""
    return f"{kind}_{ARCHIVE}.db"


def claimed_name(file: ValueFile) -> str:
    """Return a new name for a dead worker's file; no second call returns the same."""
    return f"{file.kind}_{file.owner}-dead-{os.urandom(8).hex()}.db"


def read(path: str) -> Values:
    """Read the values of a file, while its worker may be changing it.

    A file that is still being made has no values.

    Raises:
        CorruptFileError: its contents make no sense.
        OSError: it cannot be read.
    """
    with open(path, "rb", buffering=0) as source:
        data = source.read(_FIRST_READ)
        if len(data) >= _HEADER.size:
            used = _HEADER.unpack_from(data)[0]
            if used > len(data):
                data += source.read(used - len(data))
    return _parse(data)[0]


def read_archive(path: str) -> Contents:
    """Read an archive; one that is not there is empty.

    Raises:
        CorruptFileError: its contents make no sense.
        OSError: it cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as source:
            data = source.read()
    except FileNotFoundError:
        return Contents({}, frozenset())
    values, used = _parse(data)
    try:
        before, mark, names = data[used:].partition(_MARK)
        if before or not mark:
            msg = "its list of files is missing"
            raise CorruptFileError(msg)
        return Contents(values, frozenset(orjson.loads(names)))
    except (orjson.JSONDecodeError, TypeError) as error:
        msg = "its list of files cannot be read"
        raise CorruptFileError(msg) from error


def _parse(data: bytes) -> tuple[Values, int]:
    """Return the values, and how many bytes are in use."""
    values: Values = {}
    if len(data) < _HEADER.size:
        if data:
            msg = f"it has {len(data)} bytes"
            raise CorruptFileError(msg)
        return values, 0
    used = _HEADER.unpack_from(data)[0]
    if used == 0:
        return values, 0
    if not _HEADER.size <= used <= len(data):
        msg = f"it says that {used} of its {len(data)} bytes are in use"
        raise CorruptFileError(msg)
    position = _HEADER.size
    length_of, pair_of = _LENGTH.unpack_from, _PAIR.unpack_from
    try:
        while position < used:
            length = length_of(data, position)[0]
            begin = position + 4
            position = begin + length + 8 - (length + 4) % 8
            if length <= 0 or position + 16 > used:
                msg = f"an entry of {length} bytes at {begin} of {used}"
                raise CorruptFileError(msg)
            values[data[begin : begin + length]] = pair_of(data, position)
            position += 16
    except struct.error as error:
        msg = "it ends within an entry"
        raise CorruptFileError(msg) from error
    return values, used


def encode(values: Mapping[bytes, tuple[float, float]], contained: Iterable[str]) -> bytes:
    """Return an archive as bytes."""
    parts = []
    for key, (value, moment) in values.items():
        parts += [_LENGTH.pack(len(key)), key, b" " * (8 - (len(key) + 4) % 8)]
        parts.append(_PAIR.pack(value, moment))
    body = b"".join(parts)
    names = orjson.dumps(sorted(contained))
    return b"".join((_HEADER.pack(_HEADER.size + len(body)), body, _MARK, names))
