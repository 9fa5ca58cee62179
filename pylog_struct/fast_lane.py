"""The way of a plain event in one function: the same line as step by step, at a fraction of the price.

Most events have a text and a few fields of builtin types.  For those everything that can be decided
is decided before: per pipeline (keys that clash, ``service``), per second (the time's text), per
logger and level (its part of the line), per bound logger (its values, if they cannot change), per
call site (its keys).  What is left is putting the pieces together.

This module decides what may take the lane and makes the pieces; ``_lane_compiled`` or, where nothing
could be compiled, ``_lane_in_python`` puts them together.  Whatever is not plain, or fails in any way,
goes step by step instead, from the start: nothing has happened yet by then.
``tests/property/test_fast_lane.py`` holds the ways side by side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from pylog_struct._compiled import SPEED
from pylog_struct.processors.callsite import Callsite
from pylog_struct.processors.json_renderer import JSONRenderer, NotPlainError, PlainCopy
from pylog_struct.processors.sequence import SequenceNumber
from pylog_struct.processors.timestamps import TimestampSource, format_timestamp
from pylog_struct.structlog_context import current_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from structlog.typing import Processor

    from pylog_struct.bound_logger import BoundLogger
    from pylog_struct.pipeline import Pipeline
    from pylog_struct.processors.ecs import ECS
    from pylog_struct.processors.limits import Limits
    from pylog_struct.thresholds import NamedLogger

__all__ = [
    "END",
    "FIELDS_MAX",
    "ITEMS_MAX",
    "LEVEL_NAMES",
    "NO_LANE",
    "FastLane",
    "Keys",
    "NotYetPlainError",
    "Pieces",
    "Prepared",
    "Starts",
    "leaves_room",
    "make_fast_lane",
]

Starts = dict[Any, bytes]
"""From the level to the end of the event's text, by event; under None what is before it, under END what
is behind."""

END: Final = object()

Keys = tuple[tuple[bytes, ...], bytes | None]
"""Keywords as they stand in a line, and which types of values they may have."""

Prepared = tuple[Any, ...]
"""What one bound logger has ready for one lane; the first item says which."""

NO_LANE: Final[Prepared] = (None,)
LEVEL_NAMES: Final = ("debug", "info", "warning", "error", "critical")
FIELDS_MAX: Final = 256  # of one call, and as many of each other origin
ITEMS_MAX: Final = 32  # of one list, where they are not counted all together
_SPECIAL: Final = frozenset({"exc_info", "stack_info"})
_TEXT_MAX: Final = 8192  # characters of an event: longer ones are counted, step by step
_EVENTS_MAX: Final = 64  # texts remembered for one logger and level, and their length
_EVENT_LENGTH: Final = 128
_NAMES_MAX: Final = 1_000  # sets of keywords remembered
_QUICK: Final = (Callsite, SequenceNumber)
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_ONLY_TEXT: Final = frozenset({str})


class NotYetPlainError(NotPlainError):
    """An event like this will be plain later: something about its keys is not known yet."""


class FastLane(Protocol):
    """What takes the plain events of one pipeline."""

    @property
    def active(self) -> bool:
        """Whether it may be used: while nothing else is configured, and in this process only."""
        ...

    @active.setter
    def active(self, value: bool) -> None: ...

    def prepare(self, logger: BoundLogger) -> Prepared | None:
        """Make ready what *logger* needs; None if its events have to go step by step."""
        ...

    def method(self, level: int, name: str) -> Callable[..., None] | None:
        """Make the bound logger's method for a level; None if the one that it has will do."""
        ...


def make_fast_lane(
    pipeline: Pipeline,
    *,
    renderer: JSONRenderer | ECS,
    static: Mapping[str, Any],
    reserved: Iterable[str],
    processors: Sequence[Processor],
    timestamps: TimestampSource,
) -> FastLane | None:
    """Return the fast lane of *pipeline*, or None if its configuration leaves no room for one.

    Args:
        pipeline: Takes what is rendered.
        renderer: Whose lines are made; low bounds on numbers leave no room.
        static: Fields that every event has.
        reserved: Keys whose values move elsewhere.
        processors: Those of the configuration; only ours can be passed over.
        timestamps: Where the times come from.
    """
    if not leaves_room(renderer.limits) or not all(type(one) in _QUICK for one in processors):
        return None
    try:
        if isinstance(renderer, JSONRenderer):
            limits = renderer.limits
            pieces = Pieces(pipeline, limits, static, reserved, processors, timestamps)
        elif SPEED is None or processors:
            return None  # ECS has a quick way of its own in Python, and other names for what we add
        else:
            from pylog_struct._lane_ecs import ECSPieces  # noqa: PLC0415 - few need it

            pieces = ECSPieces(pipeline, renderer, static, reserved, processors, timestamps)
    except Exception:  # a service with something odd in it
        return None
    if SPEED is not None:
        from pylog_struct._lane_compiled import CompiledLane  # noqa: PLC0415 - one of the two

        return CompiledLane(pieces)
    from pylog_struct._lane_in_python import PythonLane  # noqa: PLC0415 - the other

    return PythonLane(pieces)


def leaves_room(limits: Limits) -> bool:
    """Whether the bounds on numbers are out of reach of a lane, which counts less exactly."""
    nodes = 4 * FIELDS_MAX * (ITEMS_MAX + 1)
    return limits.max_items >= 8 * FIELDS_MAX and limits.max_nodes >= nodes and limits.max_depth > 3


class Pieces:
    """The pieces of a line that are made once for many events.

    Threads: thread-safe, lock-free; two threads may make the same piece twice.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        limits: Limits,
        static: Mapping[str, Any],
        reserved: Iterable[str],
        processors: Sequence[Any],
        timestamps: TimestampSource,
    ) -> None:
        self.pipeline = pipeline
        # A quarter of the half that a plain event may have; the call's own fields have the rest.
        self.limits: Limits = replace(limits, max_nodes=limits.max_nodes // 4)
        self.timestamps = timestamps
        self.processors = processors
        self.longest: int = min(limits.max_string, limits.max_text // 2)
        """Bytes of a line: a longer one may have something in it that has to be cut."""
        self.fixed: bytes = self.members(dict(static))
        added = {key for processor in processors for key in processor.keys}
        self.never: frozenset[str] = frozenset(reserved) | static.keys() | _SPECIAL | added
        """Keys that a plain event does not have."""
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._names: dict[tuple[str, ...], Keys | None] = {}
        self._owner = object()

    def members(self, fields: dict[str, Any]) -> bytes:
        """Return *fields* as members of an object, each after a comma; nothing if there are none.

        Raises:
            Exception: something in it is not plain.
        """
        if not fields:
            return b""
        if len(fields) > FIELDS_MAX:
            raise NotPlainError
        if _ONLY_TEXT.issuperset(map(type, fields.values())):  # most of what is bound
            line = orjson.dumps(fields)
        else:
            line = orjson.dumps(PlainCopy(self.limits).object(fields, self.limits.max_depth))
        if len(line) > self.longest:
            raise NotPlainError
        return b",%b" % line[1:-1]

    def starts(self, named: NamedLogger) -> tuple[Starts, ...]:
        """Return for each level what stands from it to the event."""
        of_whom, starts = named.starts
        if of_whom is not self._owner:
            about = orjson.dumps(named.name)
            starts = tuple(self.frame(level.encode(), about) for level in LEVEL_NAMES)
            named.starts = (self._owner, starts)
        return starts

    def frame(self, level: bytes, logger: bytes) -> Starts:
        """Return what stands before and behind the event's text.

        Args:
            level: Its name.
            logger: Its name, as JSON.
        """
        return {None: b'Z","level":"%b","logger":%b,"event":' % (level, logger), END: b""}

    def start(self, known: Starts, event: str) -> bytes:
        """Return what stands from the level to the end of *event*, and remember a short one.

        Raises:
            Exception: *event* is not plain.
        """
        if len(event) > _TEXT_MAX:
            raise NotPlainError
        made = b"%b%b%b" % (known[None], orjson.dumps(event), known[END])
        if len(event) <= _EVENT_LENGTH and len(known) <= _EVENTS_MAX:
            known[event] = made
        return made

    def bound(self, context: dict[str, Any]) -> tuple[bytes, frozenset[str]]:
        """Return bound values as members, and their keys.

        Raises:
            Exception: something in it is not plain, or may be another at the next call.
        """
        if not context:
            return b"", self._known(())
        if not self.never.isdisjoint(context) or not _PLAIN.issuperset(map(type, context.values())):
            raise NotPlainError
        return self.members(context), self._known(context)

    def around(self) -> tuple[bytes, frozenset[str]]:
        """Return the context variables' values as members, and their keys.

        Raises:
            Exception: something in them is not plain.
        """
        found = current_context()
        if not self.never.isdisjoint(found):
            raise NotPlainError
        return self.members(found), self._known(found)

    def _known(self, keys: Iterable[str]) -> frozenset[str]:
        """Return a set of *keys*: the same one for the same keys, so that its identity says something."""
        made = frozenset(keys)
        if len(self._sets) >= _NAMES_MAX:
            self._sets.clear()
        return self._sets.setdefault(made, made)

    def keys(self, names: tuple[str, ...]) -> Keys | None:
        """Return each of a call's keywords as it stands in a line; None if the call never is plain.

        Raises:
            NotYetPlainError: it may be later.
        """
        if len(names) > FIELDS_MAX or not _ONLY_TEXT.issuperset(map(type, names)):
            return None
        try:
            return self._names[names]
        except KeyError:
            pass
        made: Keys | None = None
        if self.never.isdisjoint(names):
            made = tuple(b",%b:" % orjson.dumps(name) for name in names), self.kinds(names)
        if len(self._names) >= _NAMES_MAX:
            self._names.clear()
        self._names[names] = made
        return made

    def kinds(self, names: tuple[str, ...]) -> bytes | None:  # noqa: ARG002 - see ECSPieces
        """Return which types of values the keywords may have, a byte for each; None for all types."""
        return None

    thread: Callable[[], bytes] | None = None
    """Members that depend on the thread, in front of the fields."""

    def leaf(self, value: Any) -> bytes:
        """Return the text of a value that is no plain scalar or container: a date, a UUID, an Enum.

        Raises:
            Exception: *value* is not plain.
        """
        limits = self.limits
        return orjson.dumps(PlainCopy(limits).value(value, type(value), limits.max_depth))

    def head(self, second: int) -> bytes:
        """Return how the lines of a second begin: up to the point before the fraction.

        Args:
            second: In nanoseconds since 1970.
        """
        return b'{"timestamp":"%b' % format_timestamp(second)[:-7].encode()
