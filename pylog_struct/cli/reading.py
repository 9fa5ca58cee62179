"""Lines out of log files: plain, compressed, growing, and rolled over while they are read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["COMPRESSED", "MissingDependencyError", "follow", "last_lines", "read_lines"]

_CODECS: Final[dict[str, Callable[[Path], Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
COMPRESSED: Final = frozenset({*_CODECS, ".zst"})
"""Endings of files that are decompressed while they are read."""

_CHUNK: Final = 1 << 16
_LINE_MAX: Final = 16 << 20
"""Bytes after which a line without an end is handed on as it is, so that memory stays bounded."""


class MissingDependencyError(Exception):
    """A file is compressed with something that needs an extra."""


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open *path* for reading, decompressing by its ending; ``-`` is standard input."""
    if str(path) == "-":
        yield sys.stdin.buffer
    elif path.suffix in _CODECS:
        with _CODECS[path.suffix](path) as file:
            yield cast("BinaryIO", file)
    elif path.suffix == ".zst":
        try:
            import zstandard  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            msg = f"{path} needs the package 'zstandard': pip install 'pylog-struct[zstd]'"
            raise MissingDependencyError(msg) from error
        with (
            path.open("rb") as raw,
            zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as file,
        ):
            yield cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", file), _CHUNK))
    else:
        with path.open("rb") as file:
            yield file


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield every line of *path* without its end; ``-`` is standard input.

    Raises:
        OSError, lzma.LZMAError: the file cannot be read, or is not what its name's ending says.
        EOFError: a compressed file ends in the middle.
        MissingDependencyError: a ``.zst`` file, and zstandard is not installed.
    """
    with _opened(path) as file:
        while line := file.readline(_LINE_MAX):
            yield line.rstrip(b"\r\n")


def last_lines(path: Path, count: int) -> list[bytes]:
    """Return the last *count* lines of *path*; see :func:`read_lines`."""
    return list(deque(read_lines(path), maxlen=count))


class _Tail:
    """One open file, read to its present end as often as asked; keeps a line that is not finished."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # truncated from outside: what is there now is new
            self._rest = b""
        while chunk := self._file.read(_CHUNK):
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            yield from (line.rstrip(b"\r") for line in whole)
            if len(self._rest) > _LINE_MAX:
                yield self._rest
                self._rest = b""

    def is_file_at(self, path: Path) -> bool:
        """Whether *path* still names the open file (or names nothing, for now)."""
        try:
            now = path.stat()
        except OSError:
            return True
        mine = os.fstat(self._file.fileno())
        return (now.st_ino, now.st_dev) == (mine.st_ino, mine.st_dev)


def follow(
    path: Path,
    *,
    start: int | None = None,
    pause: Callable[[], None] = lambda: time.sleep(0.2),
) -> Iterator[bytes]:
    """Yield the lines of a plain file as they come, across roll-overs, without an end.

    Args:
        path: The active file; waited for if it does not exist yet.
        start: How many lines of those that are there to begin with; None means all.
        pause: Called when there is nothing new.  Whatever it raises ends the iteration.
    """
    while True:
        with suppress(FileNotFoundError, NotADirectoryError):
            with path.open("rb") as file:
                tail = _Tail(file)
                first = tail.lines()
                yield from first if start is None else deque(first, maxlen=start)
                while tail.is_file_at(path):
                    pause()
                    yield from tail.lines()
                # Rolled over.  What was written between the last look and the switch is in the
                # file that is open here, and nowhere else.
                yield from tail.lines()
            start = None
            continue
        start = None
        pause()
