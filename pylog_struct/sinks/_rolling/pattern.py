"""The names of archives: Log4j2's ``%d{…}`` and ``%i``, formatted, recognised, and checked.

A name is recognised by taking its fields apart *and putting them together again*: only a name that
comes out the same could have been made by the pattern.  Retention deletes nothing else.

Source of the syntax: Apache Log4j 2, "Rolling file appender", conversion patterns.  Own additions:
ISO weeks, a refusal of everything whose archives could collide, and the collision suffix ``.N``
that a name without ``%i`` gets when it is taken.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from pylog_struct._frozen import frozen
from pylog_struct.errors import ConfigError
from pylog_struct.sinks._checks import is_file_name
from pylog_struct.sinks._rolling.periods import UNIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

__all__ = ["ENDINGS", "NO_DATE", "Pattern", "parse_pattern"]

ENDINGS: Final = (".gz", ".bz2", ".xz", ".zst")
"""What a pattern may end in to have its archives compressed."""

NO_DATE: Final = datetime.min  # noqa: DTZ901 - a wall-clock time, and only compared
"""The date of every archive whose name has none."""

_KNOWN_MAX: Final = 16_384  # names that are remembered, some hundred bytes each

_TOKEN: Final = re.compile(r"%(?:d\{(?P<date>[^}]*)\}(?:\{(?P<zone>[^}]*)\})?|(?P<pad>0[1-9])?i|%)")
_LETTERS: Final = re.compile(r"'(?P<quoted>(?:[^']|'')*)'|(?P<run>([A-Za-z])\3*)|(?P<other>.)")
_UNITS: Final = {
    "s": "second", "m": "minute", "H": "hour", "d": "day", "D": "day",
    "w": "week", "M": "month", "y": "year", "Y": "year",
}  # fmt: skip
_WIDTHS: Final = {
    "y": (2, 4), "Y": (4,), "M": (1, 2), "d": (1, 2), "D": (1, 3), "w": (1, 2),
    "H": (1, 2), "m": (1, 2), "s": (1, 2),
}  # fmt: skip
_NEEDS: Final = {
    "s": ("m", "the minute (mm)"),
    "m": ("H", "the hour (HH)"),
    "H": ("dD", "the day (dd)"),
    "d": ("M", "the month (MM)"),
    "D": ("y", "the year (yyyy)"),
    "M": ("y", "the year (yyyy)"),
    "w": ("Y", "the year of the week (YYYY)"),
}


@frozen
class _Part:
    """A piece of a name: text (kind ``""``), the index (kind ``"i"``), or a letter of a date."""

    kind: str
    text: str = ""
    width: int = 0

    def expression(self) -> str:
        if not self.kind:
            return re.escape(self.text)
        if self.kind == "i":
            return f"([0-9]{{{max(self.width, 1)},18}})"
        return f"([0-9]{{{self.width}}})" if self.width > 1 else "([0-9]{1,3})"


class Pattern:
    """A parsed pattern, made by :func:`parse_pattern`.  Threads: thread-safe.

    Attributes:
        text: What the user wrote, as an absolute path.
        ending: ``".gz"`` and the like, or ``""``.
        zone: The zone that the pattern names, or None.
        unit: The finest unit of its dates, or None without ``%d``.
        has_index: Whether it has ``%i``.
        base: The directory above the first part that varies.
    """

    def __init__(self, text: str, parts: Sequence[_Part], zone: tzinfo | None, ending: str) -> None:
        self.text = text
        self.ending = ending
        self.zone = zone
        letters = {part.kind for part in parts} - {"", "i"}
        self.unit = min(
            (_UNITS[letter] for letter in letters), key=UNIT_SECONDS.__getitem__, default=None
        )
        self.has_index = any(part.kind == "i" for part in parts)
        self._parts = tuple(parts)
        levels = list(_levels(parts))
        fixed = 0
        while fixed < len(levels) - 1 and all(not part.kind for part in levels[fixed]):
            fixed += 1
        self.base = (
            "/".join("".join(part.text for part in level) for level in levels[:fixed]) or "/"
        )
        self._levels = [
            (
                [part.kind for part in level if part.kind],
                re.compile("".join(part.expression() for part in level)),
            )
            for level in levels[fixed:]
        ]
        kinds, name = self._levels.pop()
        suffix = "" if self.has_index else r"(?:\.([1-9][0-9]{0,8}))?"
        self._name_kinds = kinds
        self._name = re.compile(f"{name.pattern}{suffix}({re.escape(ending)})?")
        self._before_index = tuple(takewhile(lambda part: part.kind != "i", levels[-1]))
        self._known: dict[str, tuple[datetime, int, bool]] = {}
        self.literal = "".join(part.text or "_" for part in levels[-1])
        self.head = levels[-1][0].text

    @property
    def depth(self) -> int:
        """How many directories between ``base`` and an archive carry a part of the date."""
        return len(self._levels)

    def format(self, wall: datetime, index: int) -> str:
        """Return the path of an archive, without the compression ending.

        Args:
            wall: The start of the period that it holds.
            index: Its ``%i``, from 1; without ``%i``, 0, or the collision suffix.
        """
        text = _text(self._parts, wall, index)
        return text if self.has_index or not index else f"{text}.{index}"

    def key(self, wall: datetime) -> datetime:
        """Return the date that :meth:`match` will find in a name made for *wall*."""
        if self.unit is None:
            return NO_DATE
        fields = {
            part.kind: _field(part, wall) for part in self._parts if part.kind not in {"", "i"}
        }
        found = _date(fields)
        return wall if found is None else found

    def match(self, path: str) -> tuple[datetime, int, bool] | None:
        """Return (date, index, compressed?) of an absolute *path* that this pattern could have made."""
        levels = path.split("/")
        names = levels[len(self._base_levels) :]
        if levels[: len(self._base_levels)] != self._base_levels or len(names) != self.depth + 1:
            return None
        found: list[tuple[str, str]] = []
        for (kinds, expression), name in zip(self._levels, names[:-1], strict=True):
            values = expression.fullmatch(name)
            if values is None:
                return None
            found += zip(kinds, values.groups(), strict=True)
        return self._match_name(path, names[-1], found)

    @property
    def _base_levels(self) -> list[str]:
        return [""] if self.base == "/" else self.base.split("/")

    def _match_name(
        self, path: str, name: str, found: list[tuple[str, str]]
    ) -> tuple[datetime, int, bool] | None:
        values = self._name.fullmatch(name)
        if values is None:
            return None
        *groups, ending = values.groups()
        compressed = bool(ending)
        found = [*found, *zip(self._name_kinds, groups, strict=False)]
        if self.has_index:
            index = next(int(value) for kind, value in found if kind == "i")
        else:
            index = int(groups[-1] or 0)
        fields = {kind: int(value) for kind, value in found if kind != "i"}
        wall = NO_DATE if self.unit is None else _date(fields)
        if wall is None or (self.has_index and index < 1):
            return None
        made = self.format(wall, index) + (self.ending if compressed else "")
        return (wall, index, compressed) if made == path else None

    def walk(self) -> Iterator[tuple[os.DirEntry[str], datetime, int, bool]]:
        """Yield (entry, date, index, compressed?) of every regular file that could be an archive.

        Never follows a symbolic link below ``base``; what vanishes meanwhile is left out.  What the
        names mean is remembered until the next walk: to take one apart costs ten times as much as
        to read it from the directory.
        """
        known = self._known
        seen: dict[str, tuple[datetime, int, bool]] = {}
        for directory in self.directories():
            for entry in _scan(directory):
                path = entry.path
                found = known.get(path) or self._recognise(entry)
                if found is not None and entry.is_file(follow_symlinks=False):
                    if len(seen) < _KNOWN_MAX:
                        seen[path] = found
                    yield entry, *found
        self._known = seen

    def of_date(self, wall: datetime) -> Iterator[tuple[int, bool]]:
        """Yield (index, compressed?) of every regular file that could be an archive of *wall*."""
        date = self.key(wall)
        beginning = _text(self._before_index, wall, 0)
        for directory in self.directories():
            for entry in _scan(directory):
                if entry.name.startswith(beginning) and entry.is_file(follow_symlinks=False):
                    found = self._recognise(entry)
                    if found is not None and found[0] == date:
                        yield found[1:]

    def _recognise(self, entry: os.DirEntry[str]) -> tuple[datetime, int, bool] | None:
        return None if self._name.fullmatch(entry.name) is None else self.match(entry.path)

    def directories(self) -> list[str]:
        """The directories that exist and may hold archives."""
        found = [self.base]
        for _, expression in self._levels:
            found = [
                entry.path
                for directory in found
                for entry in _scan(directory)
                if expression.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
        return found

    def could_have_made(self, name: str) -> bool:
        """Whether *name*, without its directory, looks like one of an archive."""
        return self._name.fullmatch(name) is not None


def _scan(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _levels(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    level: list[_Part] = []
    for part in parts:
        if part.kind:
            level.append(part)
            continue
        first, *rest = part.text.split("/")
        level.append(_Part("", first))
        for text in rest:
            yield level
            level = [_Part("", text)]
    yield level


def _text(parts: Sequence[_Part], wall: datetime, index: int) -> str:
    return "".join(
        part.text
        if not part.kind
        else str(index if part.kind == "i" else _field(part, wall)).zfill(part.width)
        for part in parts
    )


def _field(part: _Part, wall: datetime) -> int:
    if part.kind in "Yw":
        year, week, _ = wall.isocalendar()
        return year if part.kind == "Y" else week
    if part.kind == "D":
        return wall.timetuple().tm_yday
    if part.kind == "y" and part.width == 2:
        return wall.year % 100
    return {
        "y": wall.year, "M": wall.month, "d": wall.day,
        "H": wall.hour, "m": wall.minute, "s": wall.second,
    }[part.kind]  # fmt: skip


def _date(fields: dict[str, int]) -> datetime | None:
    if fields.get("y", 2000) < 100:
        fields = {**fields, "y": fields["y"] + 2000}  # yy
    try:
        if "M" in fields or "w" not in fields:
            day = date(fields["y"], fields.get("M", 1), fields.get("d", 1))
            if "D" in fields and "d" not in fields:
                day += timedelta(days=fields["D"] - 1)
        elif "D" in fields:
            day = date(fields["y"], 1, 1) + timedelta(days=fields["D"] - 1)
        else:
            day = date.fromisocalendar(fields["Y"], fields["w"], 1)
        return datetime(  # noqa: DTZ001 - wall-clock time
            day.year, day.month, day.day,
            fields.get("H", 0), fields.get("m", 0), fields.get("s", 0),
        )  # fmt: skip
    except (ValueError, OverflowError):
        return None


def parse_pattern(text: str, argument: str) -> Pattern:
    """Parse *text*, which is made an absolute path first.

    Raises:
        ConfigError: no such conversion or letter, neither ``%d`` nor ``%i``, or dates that would
            give two archives one name.
    """
    if not is_file_name(text) or text.endswith(("/", os.sep)):
        msg = f"{argument}: {text!r} is no file name; use text such as"
        raise ConfigError(f"{msg} 'logs/app-%d{{yyyy-MM-dd}}-%i.jsonl.gz'")
    whole = os.path.abspath(text).replace(os.sep, "/")  # must not resolve links
    ending = next((end for end in ENDINGS if whole.endswith(end)), "")
    parts: list[_Part] = []
    zones: list[str] = []
    position = 0
    body = whole.removesuffix(ending)
    while position < len(body):
        found = _TOKEN.match(body, position)
        if found is None:
            if body[position] == "%":
                msg = (
                    f"{argument}: {text!r} has {body[position : position + 4]!r}, which means"
                    " nothing; use %d{…}, %i, %03i or %% for a percent sign"
                )
                raise ConfigError(msg)
            end = body.find("%", position)
            end = len(body) if end < 0 else end
            parts.append(_Part("", body[position:end]))
            position = end
            continue
        position = found.end()
        if found[0] == "%%":
            parts.append(_Part("", "%"))
        elif found["date"] is None:
            parts.append(_Part("i", width=int(found["pad"] or 0)))
        else:
            parts += _date_parts(found["date"], text, argument)
            zones.append(found["zone"] or "")
    zone = _zone(zones, text, argument)
    _refuse_collisions(parts, text, argument)
    return Pattern(whole, parts, zone, ending)


def _date_parts(letters: str, text: str, argument: str) -> Iterator[_Part]:
    for found in _LETTERS.finditer(letters):
        run = found["run"]
        if run is None:
            quoted = found["quoted"]
            if quoted is not None:
                quoted = quoted.replace("''", "'") or "'"
            yield _Part("", found["other"] if quoted is None else quoted)
            continue
        letter = run[0]
        if letter not in _WIDTHS or len(run) not in _WIDTHS[letter]:
            hint = "use HH, the hours of a whole day" if letter in "hKk" else (
                "use yyyy MM dd HH mm ss, D, YYYY with ww; put other letters in quotes"
            )  # fmt: skip
            msg = f"{argument}: {text!r} has the letters {run!r} in %d; {hint}"
            raise ConfigError(msg)
        yield _Part(letter, width=len(run) if len(run) > 1 else 0)


def _zone(names: Sequence[str], text: str, argument: str) -> tzinfo | None:
    if len(set(names)) > 1:
        msg = f"{argument}: {text!r} mixes time zones; give every %d the same one"
        raise ConfigError(msg)
    if not names or not names[0]:
        return None
    if names[0] in {"UTC", "GMT", "Z"}:
        return UTC
    try:
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - few patterns name a zone

        return ZoneInfo(names[0])
    except Exception as error:
        msg = f"{argument}: {text!r} names the unknown time zone {names[0]!r}; use UTC or a name such as Europe/Berlin"
        raise ConfigError(msg) from error


def _refuse_collisions(parts: Sequence[_Part], text: str, argument: str) -> None:
    letters = {part.kind for part in parts} - {"", "i"}
    indexes = sum(part.kind == "i" for part in parts)
    if not letters and not indexes:
        msg = f"{argument}: {text!r} names one file only; add %d{{yyyy-MM-dd}} or %i"
        raise ConfigError(msg)
    if indexes > 1:
        msg = f"{argument}: {text!r} has %i {indexes} times; use it once"
        raise ConfigError(msg)
    for letter in sorted(letters):
        needed, words = _NEEDS.get(letter, ("", ""))
        if needed and not letters & set(needed):
            msg = f"{argument}: {text!r} has {letter!r} without {words}, so two archives could get one name; add {words}"
            raise ConfigError(msg)
    if letters & {"Y"} and "w" not in letters:
        msg = f"{argument}: {text!r} has YYYY, the year of a week, without ww; use yyyy"
        raise ConfigError(msg)
