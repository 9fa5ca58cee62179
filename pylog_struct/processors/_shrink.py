"""Making a JSON document shorter, in a fixed order, and saying in it what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct._frozen import frozen

if TYPE_CHECKING:
    from pylog_struct.processors.document_limits import DocumentLimits

__all__ = ["LINE_LEAST", "TRUNCATED", "Roles", "harmless", "shrunk"]

LINE_LEAST: Final = 1_024
"""Bytes of the shortest line that can be asked for."""

TRUNCATED: Final = "pylog.truncated"
"""The field that says what was left out."""

_STACK_LEAST: Final = 1_024
_TEXT_LEAST: Final = 256
_NOTES_MAX: Final = 10
_NOTE_PATH_MAX: Final = 60  # characters of a path in a note; keeps ten notes below 1,000 bytes
_STRING_LEAST: Final = 64
_TERM_ROOM: Final = 1_024  # what the key takes away from a value of a map of strings
_MARK: Final = "…"


@frozen
class Roles:
    """Which fields of a document are which, by their dotted paths.

    Attributes:
        prefix: What every document keeps, with the message among it.
        message: The message.
        messages: Other texts that are messages.
        stacks: Stacks as text.
        maps: Objects that an index takes as one map of strings.
    """

    prefix: tuple[str, ...]
    message: str
    messages: frozenset[str] = frozenset()
    stacks: frozenset[str] = frozenset()
    maps: frozenset[str] = frozenset()


class _Text:
    """One string of a document, where it stands, and what was cut from it."""

    __slots__ = ("holder", "key", "path", "size", "text")

    def __init__(self, holder: Any, key: Any, path: str) -> None:
        self.holder = holder
        self.key = key
        self.path = path
        self.text: str = holder[key]
        self.size = len(self.text.encode())


class _Shrinking:
    """The work on one document."""

    def __init__(self, document: dict[str, Any], roles: Roles) -> None:
        self.document = document
        self.roles = roles
        self.left: dict[str, int] = {}
        self.texts: list[_Text] = []
        for key in document:
            self._collect(document, key, key)

    def _collect(self, holder: Any, key: Any, path: str) -> None:
        value = holder[key]
        if type(value) is str:
            self.texts.append(_Text(holder, key, path))
        elif type(value) is dict:
            for name in value:
                self._collect(value, name, f"{path}.{name}")
        elif type(value) is list:
            for index in range(len(value)):
                self._collect(value, index, path)

    # -- limits of single strings ---------------------------------------------------------------

    def bound(self, keyword: int, message: int, stack: int) -> None:
        roles = self.roles
        for text in self.texts:
            limit = keyword
            if text.path in roles.stacks:
                limit = stack
            elif text.path == roles.message or text.path in roles.messages:
                limit = message
            elif any(text.path.startswith(f"{name}.") for name in roles.maps):
                limit = max(_STRING_LEAST, keyword - _TERM_ROOM)
            if text.size > limit:
                self._cut(text, limit)

    def _cut(self, text: _Text, limit: int) -> None:
        """Shorten one string to *limit* bytes."""
        shown = _middle(text.text, limit) if text.path in self.roles.stacks else None
        if shown is None:
            shown = _head(text.text, limit - len(_MARK.encode())) + _MARK
        size = len(shown.encode())
        self.left[text.path] = self.left.get(text.path, 0) + text.size - size
        text.text = text.holder[text.key] = shown
        text.size = size

    # -- the limit of the line ------------------------------------------------------------------

    def encoded(self) -> bytes:
        """The document with its notes."""
        self.document.pop(TRUNCATED, None)
        if self.left:
            self.document[TRUNCATED] = _notes(self.left)
        return orjson.dumps(self.document)

    def fit(self, line_max: int) -> bytes:
        """Shorten until the line with its newline has no more than *line_max* bytes."""
        roles = self.roles
        most = line_max - 1
        stacks = [text for text in self.texts if text.path in roles.stacks]
        said = [
            text for text in self.texts if text.path == roles.message or text.path in roles.messages
        ]
        kept = {*roles.stacks, *roles.messages, *roles.prefix}
        others = [text for text in self.texts if text.path not in kept]
        for texts, least in (
            (stacks, _STACK_LEAST),
            (others, _TEXT_LEAST),
            (said, _TEXT_LEAST),
        ):
            line = self.encoded()
            if len(line) <= most:
                return line
            self._level(texts, least, len(line) - most)
        line = self.encoded()
        if len(line) > most:
            self._leave_out(len(line) - most)
            line = self.encoded()
        return line if len(line) <= most else self._bare(most)

    def _level(self, texts: list[_Text], least: int, excess: int) -> None:
        """Cut the longest of *texts*, to one length, until *excess* bytes are gone or all are short."""
        goal = excess + 1_000  # the notes take room as well
        sizes = sorted((text.size for text in texts), reverse=True)
        level, gone = least, 0
        for count, size in enumerate(sizes, 1):
            gone += size
            below = sizes[count] if count < len(sizes) else 0
            # With the *count* longest at one length, that length is:
            candidate = (gone - goal) // count
            if candidate >= below:
                level = max(least, candidate)
                break
        for text in texts:
            if text.size > level:
                self._cut(text, level)

    def _leave_out(self, excess: int) -> None:
        """Drop fields, largest first, until *excess* bytes and the room for the notes are gone."""
        goal = excess + 1_000
        members: list[tuple[int, Any, str, str]] = []
        self._members(self.document, "", members)
        members.sort(key=lambda member: (-member[0], member[3]))
        for size, holder, key, path in members:
            if goal <= 0:
                break
            del holder[key]
            goal -= size
            self.left[path] = self.left.get(path, 0) + size
        _prune(self.document)

    def _members(self, holder: dict[str, Any], prefix: str, found: list[Any]) -> None:
        for key, value in holder.items():
            path = f"{prefix}{key}"
            if path in self.roles.prefix or path == TRUNCATED:
                continue
            if type(value) is dict and value:
                self._members(value, f"{path}.", found)
            else:
                size = len(orjson.dumps(value)) + len(orjson.dumps(key)) + 2
                found.append((size, holder, key, path))

    def _bare(self, most: int) -> bytes:
        """Nothing but the prefix and one note; the message gets what room is left."""
        document = {key: self.document[key] for key in self.roles.prefix if key in self.document}
        for key, value in document.items():
            if key != self.roles.message:
                text = value if type(value) is str else orjson.dumps(value).decode()
                document[key] = _encoded_head(text, 100)
        message = document.get(self.roles.message)
        total = sum(self.left.values())
        document[TRUNCATED] = [f"{len(self.left)} fields: {total} bytes left out"]
        if type(message) is str:
            document[self.roles.message] = ""
            room = most - len(orjson.dumps(document))
            document[self.roles.message] = _encoded_head(message, room)
        elif message is not None:
            del document[self.roles.message]
        return orjson.dumps(document)


def harmless(limits: DocumentLimits) -> int:
    """Return the length up to which a line cannot break any limit."""
    # A string in JSON is never shorter than its UTF-8.
    strings = min(
        max(_STRING_LEAST, limits.max_keyword - _TERM_ROOM), limits.max_message, limits.max_stack
    )
    return strings if limits.max_line is None else min(strings, limits.max_line - 1)


def shrunk(line: bytes, limits: DocumentLimits, roles: Roles) -> bytes:
    """Return a line within all limits: the same one if it is.

    Args:
        line: A JSON object in UTF-8, without a newline.
        limits: See there.
        roles: Which fields are which.

    Raises:
        ValueError: the line is no JSON object.
    """
    document = orjson.loads(line)
    if type(document) is not dict:
        raise ValueError("not a JSON object")
    work = _Shrinking(document, roles)
    work.bound(limits.max_keyword, limits.max_message, limits.max_stack)
    shorter = work.encoded() if work.left else line
    if limits.max_line is None or len(shorter) < limits.max_line:
        return shorter
    return work.fit(limits.max_line)


def _prune(holder: dict[str, Any]) -> None:
    """Take out the objects that have become empty."""
    for key, value in list(holder.items()):
        if type(value) is dict:
            _prune(value)
            if not value:
                del holder[key]


def _notes(left: dict[str, int]) -> list[str]:
    order = sorted(left.items(), key=lambda item: (-item[1], item[0]))
    notes = [f"{_short(path)}: {size} bytes left out" for path, size in order[:_NOTES_MAX]]
    rest = order[_NOTES_MAX:]
    if rest:
        notes.append(f"{len(rest)} more fields: {sum(size for _, size in rest)} bytes left out")
    return notes


def _short(path: str) -> str:
    return path if len(path) <= _NOTE_PATH_MAX else f"{path[:_NOTE_PATH_MAX]}{_MARK}"


def _head(text: str, limit: int) -> str:
    """Return the longest beginning of *text* that has no more than *limit* bytes of UTF-8."""
    return text.encode()[: max(0, limit)].decode("utf-8", "ignore")


def _tail(text: str, limit: int) -> str:
    return text.encode()[-limit:].decode("utf-8", "ignore") if limit > 0 else ""


def _middle(text: str, limit: int) -> str | None:
    """Return beginning and end of *text*; None if there is no room for both."""
    gap = f"\n{_MARK} [{len(text.encode()) - limit} bytes left out] {_MARK}\n"
    room = limit - len(gap.encode())
    if room < 2:
        return None
    # The end of a stack says what went wrong: it gets the larger part.
    return _head(text, room // 3) + gap + _tail(text, room - room // 3)


def _encoded_head(text: str, limit: int) -> str:
    """Return *text*, cut so that it takes at most *limit* bytes between the quotes of JSON."""
    if len(orjson.dumps(text)) - 2 <= limit:
        return text
    least, most = 0, min(len(text), max(0, limit))
    while least < most:
        middle = (least + most + 1) // 2
        if len(orjson.dumps(text[:middle])) - 2 + len(_MARK.encode()) <= limit:
            least = middle
        else:
            most = middle - 1
    return text[:least] + _MARK if limit >= len(_MARK.encode()) else ""
