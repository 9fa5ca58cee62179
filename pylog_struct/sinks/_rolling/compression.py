"""Compressing an archive so that a crash at any point leaves the whole plain or the whole packed file.

The work goes to a temporary file in the same directory; only when that is complete and on the disk
does it get its name (replacing nothing), and only then is the plain file removed.  The exclusive
lock on the plain file keeps writers that have not noticed the roll-over yet out of the way: they
hold it shared, and the archive is tried again later.
"""

from __future__ import annotations

import contextlib
import enum
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from pylog_struct._frozen import frozen
from pylog_struct.errors import ConfigError
from pylog_struct.sinks._rolling.files import (
    Ownership,
    create,
    fsync_directory,
    is_file,
    move_exclusive,
    open_regular,
    remove_quietly,
)
from pylog_struct.sinks._rolling.locks import OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Codec", "Outcome", "compress", "find_codec", "temporary_name"]

_CHUNK: Final = 256 * 1024  # large enough that the codecs work without the interpreter's lock
_LEVELS: Final = {".gz": (1, 9, 6), ".bz2": (1, 9, 9), ".xz": (0, 9, 6), ".zst": (1, 22, 3)}


@frozen
class Codec:
    """One compression format at one level."""

    ending: str
    level: int

    @contextlib.contextmanager
    def writer(self, raw: BinaryIO, modified: float) -> Iterator[Any]:
        """Yield a file that compresses into *raw*, which stays open."""
        stream: Any
        if self.ending == ".gz":
            import gzip  # noqa: PLC0415 - only the format in use is imported

            stream = gzip.GzipFile("", "wb", self.level, raw, mtime=max(int(modified), 0))
        elif self.ending == ".bz2":
            import bz2  # noqa: PLC0415

            stream = bz2.BZ2File(raw, "wb", compresslevel=self.level)
        elif self.ending == ".xz":
            import lzma  # noqa: PLC0415

            stream = lzma.LZMAFile(raw, "wb", preset=self.level)  # noqa: SIM115 - entered below
        else:
            import zstandard  # noqa: PLC0415

            stream = zstandard.ZstdCompressor(self.level).stream_writer(raw, closefd=False)
        with stream:
            yield stream

    @contextlib.contextmanager
    def reader(self, path: str) -> Iterator[Any]:
        """Yield a file that decompresses *path*."""
        stream: Any
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(os.fdopen(open_regular(path), "rb"))
            if self.ending == ".gz":
                import gzip  # noqa: PLC0415

                stream = gzip.GzipFile(fileobj=raw)
            elif self.ending == ".bz2":
                import bz2  # noqa: PLC0415

                stream = bz2.BZ2File(raw)
            elif self.ending == ".xz":
                import lzma  # noqa: PLC0415

                stream = lzma.LZMAFile(raw)  # noqa: SIM115 - entered below
            else:
                import zstandard  # noqa: PLC0415

                stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            yield stack.enter_context(stream)


def find_codec(ending: str, level: int | None, argument: str) -> Codec:
    """Return the codec for an ending.

    Raises:
        ConfigError: its module is missing, or it has no such *level*.
    """
    module = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma", ".zst": "zstandard"}[ending]
    try:
        __import__(module)
    except ImportError as error:
        remedy = (
            "install pylog-struct[zstd]" if ending == ".zst" else f"this Python has no {module!r}"
        )
        msg = f"{argument}.pattern: archives ending in {ending!r} need {module!r}; {remedy}, or use '.gz'"
        raise ConfigError(msg) from error
    least, most, usual = _LEVELS[ending]
    if level is None:
        return Codec(ending, usual)
    if not isinstance(level, int) or isinstance(level, bool) or not least <= level <= most:
        msg = f"{argument}.compression_level: {level!r} is no level of {ending!r}; use {least} to {most}"
        raise ConfigError(msg)
    return Codec(ending, level)


class Outcome(enum.Enum):
    """What became of an attempt."""

    DONE = "done"
    BUSY = "busy"
    GONE = "gone"
    CONFLICT = "conflict"


def temporary_name(final: str) -> str:
    """Return where the compressed file grows; hidden, and no name that a pattern could make."""
    directory, name = os.path.split(final)
    return os.path.join(directory, f".{name}.tmp")


def compress(
    source: str, codec: Codec, ownership: Ownership, active: Callable[[], str | None]
) -> Outcome:
    """Replace *source* by its compressed form.

    Args:
        source: A plain archive.
        codec: The format.
        ownership: Mode and owner of the result; where no owner is given, that of *source*.
        active: Gives the active file, asked under the lock: until a roll-over is finished,
            *source* may still be that.

    Returns:
        ``BUSY`` if somebody still has it open, ``GONE`` if there is nothing to do any more,
        ``CONFLICT`` if another file has the name of the result; else ``DONE``.

    Raises:
        OSError: it failed; *source* is still whole.
    """
    try:
        plain = OpenFile(open_regular(source), source)
    except FileNotFoundError:
        return Outcome.GONE
    try:
        if not plain.lock(exclusive=True):
            return Outcome.BUSY
        if not plain.names_its_path():
            return Outcome.GONE
        status = os.fstat(plain.fd)
        if is_file(active(), status):
            return Outcome.BUSY
        if not status.st_size:
            return Outcome.GONE  # nothing to keep; somebody may be about to write to it
        final = source + codec.ending
        if os.path.lexists(final):
            if not _same_content(plain.fd, final, codec):
                return Outcome.CONFLICT
        else:
            _pack(plain.fd, final, codec, ownership, status)
        os.unlink(source)
        fsync_directory(source)
        return Outcome.DONE
    finally:
        plain.close()


def _pack(
    plain: int, final: str, codec: Codec, ownership: Ownership, status: os.stat_result
) -> None:
    temporary = temporary_name(final)
    remove_quietly(temporary)  # of a process that died: we hold the lock that it held
    packed = OpenFile(create(temporary, ownership, like=status, append=False), temporary)
    try:
        with os.fdopen(packed.fd, "wb", closefd=False) as raw:
            with codec.writer(cast("BinaryIO", raw), status.st_mtime) as stream:
                offset = 0
                while chunk := os.pread(plain, _CHUNK, offset):
                    stream.write(chunk)
                    offset += len(chunk)
            raw.flush()
        os.utime(packed.fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(packed.fd)
        move_exclusive(temporary, final)
        fsync_directory(final)
    except BaseException:
        remove_quietly(temporary)
        raise
    finally:
        packed.close()


def _same_content(plain: int, final: str, codec: Codec) -> bool:
    """Whether the compressed file is whole and holds exactly the plain one: a crash came between."""
    try:
        with codec.reader(final) as stream:
            offset = 0
            while chunk := stream.read(_CHUNK):
                if os.pread(plain, len(chunk), offset) != chunk:
                    return False
                offset += len(chunk)
    except Exception:  # truncated, damaged, or no compressed file at all: every codec has its own
        return False
    return offset == os.fstat(plain).st_size
