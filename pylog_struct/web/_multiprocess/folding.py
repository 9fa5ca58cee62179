"""Folding: the values of dead workers go into one archive a kind, and their files away.

prometheus-client keeps the file of every process that ever was, since its counts belong to the sum.
Here the sum is kept instead.  For each kind: the files of dead workers are claimed by a rename, and
it is looked again whether they are dead, since a new process may have got the pid and the file in
between.  Then the archive is written anew, with the names of what is in it, under another name and
synced, and takes its place with one rename: that is the moment from which the claimed files do not
count any more.  They are removed last.

So a crash at any point leaves either claimed files that are not in the archive yet, or some that
are and are listed there.  The next fold goes on from both, and no scrape counts anything twice.
"""
# system calls as such: what is atomic matters here
# ruff: noqa: PTH104, PTH105, PTH108, PTH110, PTH118

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import orjson

from pylog_struct import diagnostics
from pylog_struct.sinks._rolling.files import fsync_directory
from pylog_struct.web._multiprocess.files import (
    CorruptFileError,
    archive_name,
    claimed_name,
    encode,
    listing,
    read,
    read_archive,
)
from pylog_struct.web._multiprocess.liveness import is_dead
from pylog_struct.web._multiprocess.rules import is_dropped, merge, rule_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pylog_struct.web._multiprocess.files import Contents, ValueFile, Values

__all__ = ["fold"]

_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def fold(directory: str) -> int:
    """Fold what is dead in *directory* and return how many files went away.

    The caller holds the lock of the directory alone.  Trouble with one kind is reported, and the
    other kinds are folded.

    Raises:
        OSError: the directory cannot be read.
    """
    gone = 0
    by_kind: dict[str, list[ValueFile]] = {}
    for file in listing(directory):
        if not file.is_archive and (file.claimed or is_dead(file)):
            by_kind.setdefault(file.kind, []).append(file)
    for kind, files in by_kind.items():
        try:
            gone += _fold_kind(directory, kind, files)
        except OSError as error:  # no space, no permission: it is tried again
            where = os.path.join(directory, archive_name(kind))
            diagnostics.report(f"metrics.fold {kind}", f"cannot fold into {where}", error)
    return gone


def _fold_kind(directory: str, kind: str, files: list[ValueFile]) -> int:
    mode = files[0].mode
    if is_dropped(mode):
        return _remove([file for file in _claim(directory, files) if is_dead(file)])
    rule = rule_for(mode)
    if rule is None:  # a mode of a prometheus-client to come
        return 0
    path = os.path.join(directory, archive_name(kind))
    archive = _archive(path)
    done = [file for file in files if file.name in archive.contained]
    gone = _remove(done)
    claimed = _claim(directory, [file for file in files if file.name not in archive.contained])
    dead = [file for file in claimed if is_dead(file)]
    if not dead:
        return gone
    values, broken = dict(archive.values), []
    for file in dead:
        found = _values(file)
        if found is None:
            broken.append(file)
        else:
            merge(values, found, rule)
    for file in broken:
        _set_aside(file.path)
    folded = [file for file in dead if file not in broken]
    if folded:
        # Those that could not be removed before stay on the list for as long as they are there.
        left = [file.name for file in done if os.path.exists(file.path)]
        _replace(path, encode(values, [*left, *(file.name for file in folded)]))
    return gone + _remove(folded)


def _archive(path: str) -> Contents:
    try:
        return read_archive(path)
    except CorruptFileError as error:
        diagnostics.report("metrics.archive", f"the counts in {path} are lost", error)
        _set_aside(path)
        return read_archive(path)


def _claim(directory: str, files: Iterable[ValueFile]) -> list[ValueFile]:
    """Give dead workers' files names under which no new process can open them."""
    claimed = []
    for file in files:
        if file.claimed:
            claimed.append(file)
            continue
        name = claimed_name(file)
        path = os.path.join(directory, name)
        with contextlib.suppress(FileNotFoundError):  # mark_process_dead was faster
            os.rename(file.path, path)
            claimed.append(file._replace(path=path, name=name, claimed=True))
    return claimed


def _values(file: ValueFile) -> Values | None:
    """Return the values of a dead worker's file; None if it makes no sense."""
    try:
        values = read(file.path)
        for key in values:  # what is in the archive must not break anybody's scrape
            _, _, labels, _ = orjson.loads(key)
            dict(labels)
    except (ValueError, TypeError) as error:
        diagnostics.report("metrics.file", f"{file.name} cannot be folded: set aside", error)
        return None
    return values


def _set_aside(path: str) -> None:
    """Keep a broken file for whoever wants to look at it, one of each kind, out of every scrape."""
    directory, name = os.path.split(path)
    kind = name.rpartition("_")[0]
    os.replace(path, os.path.join(directory, f"{kind}.broken"))


def _replace(path: str, data: bytes) -> None:
    """Put *data* at *path*, wholly or not at all."""
    new = f"{path}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(new, path)
    fsync_directory(path)


def _remove(files: Iterable[ValueFile]) -> int:
    gone = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.path)
            gone += 1
    return gone
