"""From the constructor's arguments to a :class:`Plan`, or to one :class:`ConfigError` that says what is wrong."""

from __future__ import annotations

import os
import re
import zlib
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pylog_struct.errors import ConfigError
from pylog_struct.sinks._checks import is_file_name
from pylog_struct.sinks._rolling.compression import find_codec
from pylog_struct.sinks._rolling.files import Ownership
from pylog_struct.sinks._rolling.pattern import Pattern, parse_pattern
from pylog_struct.sinks._rolling.periods import (
    UNIT_SECONDS,
    Every,
    Schedule,
    WallClock,
    parse_at,
    parse_interval,
)
from pylog_struct.sinks._rolling.plan import Plan, Retention
from pylog_struct.sinks._rolling.state import RollLock
from pylog_struct.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pylog_struct.clock import Clock

__all__ = ["make_plan"]

CLASS: Final = "RollingFileSink"
DEFAULT_DATES: Final = "%d{yyyy-MM-dd-HH-mm-ss}-%i"


def _refuse(argument: str, text: str) -> NoReturn:
    raise ConfigError(f"{CLASS}.{argument}: {text}")


def make_plan(options: Mapping[str, Any], clock: Clock, name: Callable[[], str]) -> Plan:
    """Check *options* (the constructor's arguments by name) and work out the plan.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    path = _path(options["path"], "path")
    if path is None and options["pattern"] is None:
        _refuse("path", "None, and no pattern; give at least one of the two")
    pattern = _pattern(path, options["pattern"])
    schedule = _schedule(options, pattern)
    max_bytes = _size(options, "max_bytes")
    on_start = _on_start(options["on_start"])
    _check_names(options, path, pattern, schedule)
    mode = _mode(options["mode"])
    ownership = Ownership(mode, _user(options["owner"]), _group(options["group"]))
    codec = None
    if pattern.ending:
        codec = find_codec(pattern.ending, options["compression_level"], CLASS)
    elif options["compression_level"] is not None:
        _refuse(
            "compression_level",
            f"{options['compression_level']!r} without compression; end the pattern in '.gz'",
        )
    parents = _flag(options, "create_parents")
    lock_path = _lock_path(path, pattern, _path(options["lock_dir"], "lock_dir"))
    return Plan(
        path=path,
        pattern=pattern,
        schedule=schedule,
        wall=WallClock(_zone(options, pattern)),
        max_bytes=max_bytes,
        on_start=on_start,
        ownership=ownership,
        codec=codec,
        compress_delay=parse_duration(options["compress_delay"], f"{CLASS}.compress_delay"),
        retention=Retention(
            _count(options["max_files"]),
            _duration(options, "max_age"),
            _size(options, "max_total_bytes"),
            _flag(options, "dry_run"),
        ),
        lock=RollLock(lock_path, ownership, parents=parents),
        latest=_latest(options["latest"], path, pattern),
        parents=parents,
        fsync=_flag(options, "fsync"),
        clock=clock,
        name=name,
    )


def _flag(options: Mapping[str, Any], argument: str) -> bool:
    value = options[argument]
    if not isinstance(value, bool):
        _refuse(argument, f"{value!r} is no yes or no; use True or False")
    return value


def _path(value: Any, argument: str) -> str | None:
    if value is None:
        return None
    try:
        text = os.fspath(value)
    except TypeError:
        text = None
    if not is_file_name(text):
        _refuse(argument, f"{value!r} is no path; use text or a pathlib.Path")
    if argument == "path" and (
        text.endswith(("/", os.sep)) or os.path.basename(text) in {".", ".."}
    ):
        _refuse(argument, f"{value!r} is a directory; name a file")
    return os.path.abspath(text).replace(os.sep, "/")  # must not resolve links


def _pattern(path: str | None, value: Any) -> Pattern:
    if value is not None:
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        return parse_pattern(text, f"{CLASS}.pattern")
    stem, suffix = os.path.splitext(path or "")
    stem, suffix = stem.replace("%", "%%"), suffix.replace("%", "%%")
    if suffix in {".gz", ".bz2", ".xz", ".zst"}:
        stem, suffix = stem + suffix, ""  # the user's own name, not a wish for compression
    return parse_pattern(f"{stem}-{DEFAULT_DATES}{suffix}", f"{CLASS}.path")


def _schedule(options: Mapping[str, Any], pattern: Pattern) -> Schedule | None:
    interval, at = options["interval"], options["at"]
    if interval is not None and at is not None:
        _refuse("at", f"{at!r} together with interval {interval!r}; use one of the two")
    if interval is not None:
        return parse_interval(interval, f"{CLASS}.interval")
    if at is not None:
        return parse_at(at, f"{CLASS}.at")
    if options["pattern"] is None or pattern.unit is None:
        return None
    return Every(1, pattern.unit)


def _check_names(
    options: Mapping[str, Any], path: str | None, pattern: Pattern, schedule: Schedule | None
) -> None:
    """Refuse what would give two archives one name, or take the active file for an archive."""
    text = options["pattern"]
    if path is not None and pattern.match(path) is not None:
        _refuse("pattern", f"{text!r} could make the name of path {path!r}; choose another")
    if pattern.has_index:
        triggers = (options["max_bytes"], schedule, options["on_start"] or None)
        if all(trigger is None for trigger in triggers) and text is not None and path is not None:
            _refuse(
                "pattern", f"{text!r} without a trigger; give max_bytes, interval, at or on_start"
            )
        return
    if options["max_bytes"] is not None:
        _refuse("pattern", f"{text!r} together with max_bytes needs %i, or archives would collide")
    if options["on_start"]:
        _refuse("pattern", f"{text!r} together with on_start needs %i, or archives would collide")
    if schedule is not None and pattern.unit is not None:
        finest = UNIT_SECONDS[pattern.unit]
        if schedule.seconds < finest:
            _refuse(
                "pattern",
                f"{text!r} names a {pattern.unit}, and roll-overs are more frequent; add %i",
            )


def _zone(options: Mapping[str, Any], pattern: Pattern) -> Any:
    if not _flag(options, "utc"):
        return pattern.zone
    if pattern.zone not in {None, UTC}:
        _refuse("utc", f"True, and the pattern {options['pattern']!r} names another zone")
    return UTC


def _size(options: Mapping[str, Any], argument: str) -> int | None:
    value = options[argument]
    return None if value is None else parse_size(value, f"{CLASS}.{argument}")


def _duration(options: Mapping[str, Any], argument: str) -> float | None:
    value = options[argument]
    if value is None:
        return None
    return parse_duration(value, f"{CLASS}.{argument}", exclusive=True)


def _count(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    _refuse("max_files", f"{value!r} is no number of archives; use 1 or more, or None for no limit")


def _on_start(value: Any) -> int | None:
    if isinstance(value, bool):
        return 1 if value else None
    return parse_size(value, f"{CLASS}.on_start")


def _mode(value: Any) -> int:
    mode = value
    if isinstance(value, str) and re.fullmatch(r"(0o)?[0-7]{3,4}", value):
        mode = int(value.removeprefix("0o"), 8)
    if not isinstance(mode, int) or isinstance(mode, bool) or not 0 <= mode <= 0o777:
        _refuse(
            "mode", f"{value!r} is no file mode; use a number such as 0o640 or text such as '0640'"
        )
    if mode & 0o600 != 0o600:
        _refuse("mode", f"{mode:#o} is unwritable; the owner needs to read and write: 0o6xx")
    if mode & 0o111:
        _refuse("mode", f"{mode:#o} makes log files executable; use a mode such as 0o640")
    return mode


def _user(value: Any) -> int:
    return _account(value, "owner", "user")


def _group(value: Any) -> int:
    return _account(value, "group", "group")


def _account(value: Any, argument: str, kind: str) -> int:
    if value is None:
        return -1
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        try:
            if kind == "user":
                import pwd  # noqa: PLC0415 - POSIX only

                return pwd.getpwnam(value).pw_uid
            import grp  # noqa: PLC0415 - POSIX only

            return grp.getgrnam(value).gr_gid
        except (KeyError, ImportError, ValueError):  # ValueError: NUL, half of a surrogate pair
            pass
    _refuse(argument, f"{value!r} is no {kind} of this system; use a name or a number")


def _lock_path(path: str | None, pattern: Pattern, directory: str | None) -> str:
    """Where the lock file is: beside the active file, or with a name of its own in *directory*."""
    if path is not None:
        parent, name = os.path.split(path)
        identity = path
    else:
        parent, name = pattern.base, pattern.literal
        identity = pattern.text
    mark = f".{zlib.crc32(identity.encode('utf-8', 'surrogateescape')):08x}"
    if directory is None:
        return os.path.join(parent, f".{name}{mark if path is None else ''}.lock")
    return os.path.join(directory, f".{name}{mark}.lock")


def _latest(value: Any, path: str | None, pattern: Pattern) -> str | None:
    if value is None or value is False:
        return None
    if value is True:
        if path is not None:
            stem, suffix = os.path.splitext(path)
            link = f"{stem}-latest{suffix}"
        else:
            suffix = os.path.splitext(pattern.literal)[1]
            head = pattern.head.rstrip("-_.") or "log"
            link = os.path.join(pattern.base, f"{head}-latest{suffix}")
    else:
        link = _path(value, "latest") or ""
    if link == path or pattern.match(link) is not None:
        _refuse("latest", f"{value!r} is the name of a log file; choose another")
    return link
