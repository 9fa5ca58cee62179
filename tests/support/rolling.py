"""Reading back what a rolling file left on the disk."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

from pylog_struct.record import Record

_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def record(number: int, size: int = 0, **fields: object) -> Record:
    """A record with a number; *size* pads its line to that many bytes, newline included."""
    document: dict[str, object] = {"n": number, **fields}
    line = json.dumps(document, separators=(",", ":")).encode()
    if size:
        padding = size - 1 - len(line) - len(',"p":""')
        assert padding >= 0, f"{size} bytes are too few for {line!r}"
        line = line[:-1] + b',"p":"' + b"x" * padding + b'"}'
    return Record(20, line)


def content(path: Path) -> bytes:
    opener = _OPENERS.get(path.suffix)
    if opener is None:
        return path.read_bytes()
    with opener(path, "rb") as file:
        return file.read()


def files(directory: Path) -> list[str]:
    """Relative paths of the visible regular files."""
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    )


def lines(directory: Path) -> list[bytes]:
    """Every line of every visible file."""
    return [line for name in files(directory) for line in content(directory / name).splitlines()]


def numbers(directory: Path) -> list[int]:
    """The numbers of all records that can be read, sorted; what is no JSON is left out."""
    found = []
    for line in lines(directory):
        try:
            found.append(json.loads(line)["n"])
        except (ValueError, TypeError, KeyError):
            continue
    return sorted(found)
