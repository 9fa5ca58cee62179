"""What an exception is made of: a bounded tree of links, group members and frames."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.processors._source import source_line
from pylog_struct.processors._text import clean, cut, plain
from pylog_struct.processors.safe_repr import safe_repr, safe_str

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from pylog_struct.processors.limits import Limits

__all__ = ["Frame", "Node", "collect", "picked"]

# The descriptors of BaseException: a property or __getattribute__ of a subclass is not run.
_CAUSE: Final = BaseException.__dict__["__cause__"].__get__
_CONTEXT: Final = BaseException.__dict__["__context__"].__get__
_SUPPRESSED: Final = BaseException.__dict__["__suppress_context__"].__get__
_TRACEBACK: Final = BaseException.__dict__["__traceback__"].__get__
_MEMBERS: Final = BaseExceptionGroup.__dict__["exceptions"].__get__

_CHAIN_MAX: Final = 100_000  # links that are followed to find the last one
_SHARES: Final = 8  # an event has room for so many exceptions of full size
_LEAST_MESSAGE: Final = 256
_NOTES_MAX: Final = 20
_NOTE_MAX: Final = 1_024
_LOCALS_MAX: Final = 20
_LOCAL_MAX: Final = 200


class Frame:  # not a dataclass: those take long to import
    """One frame: where, and what stands there."""

    __slots__ = ("code", "file", "function", "line", "name", "variables")

    def __init__(
        self,
        file: str,
        line: int | None,
        function: str,
        name: str,
        code: str,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.file = file
        self.line = line
        self.function = function
        self.name = name
        self.code = code
        self.variables = variables


class Node:
    """One exception; the counts say what was left out."""

    __slots__ = (
        "causes_left",
        "error",
        "following",
        "frames",
        "frames_from_start",
        "frames_left",
        "link",
        "members",
        "members_from_start",
        "members_left",
        "message",
        "notes",
        "notes_left",
        "repeated",
        "traceback",
    )

    def __init__(
        self, error: BaseException, link: str, traceback: TracebackType | None, *, repeated: bool
    ) -> None:
        self.error = error
        self.link = link  # how the one before it refers to it: "cause", "context" or ""
        self.traceback = traceback
        self.repeated = repeated
        self.following: Node | None = None
        self.causes_left = 0  # between this one and the following
        self.members: list[Node] = []
        self.members_left = 0
        self.members_from_start = 0
        self.message = ""
        self.notes: list[str] = []
        self.notes_left = 0
        self.frames: list[Frame] = []
        self.frames_left = 0
        self.frames_from_start = 0


def picked(found: list[Any], most: int) -> tuple[list[Any], int, int]:
    """Return the first and last of *found*, *most* in all; how many were left out; after which."""
    if len(found) <= most:
        return found, 0, len(found)
    first = most - most // 2
    last = most // 2
    return found[:first] + (found[-last:] if last else []), len(found) - most, first


class _Collector:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.nodes: list[Node] = []
        self.seen: set[int] = set()

    def chain(
        self, error: BaseException, traceback: TracebackType | None, levels: int, room: int
    ) -> Node:
        """Collect *error*, what led to it, and members of groups.

        At most *room* exceptions (and always one), in at most *levels* of JSON.
        """
        before = len(self.nodes)
        most = max(1, min(self.limits.max_causes, levels, room))
        nodes: list[Node]
        nodes, left, first = picked(self._links(error), most)
        if traceback is not None:
            nodes[0].traceback = traceback
        if left:
            nodes[first - 1].causes_left = left
        for node, following in pairwise(nodes):
            node.following = following
        self.nodes += nodes
        for position, node in enumerate(nodes):
            if issubclass(type(node.error), BaseExceptionGroup) and not node.repeated:
                used = len(self.nodes) - before
                self._group(node, levels - position - 2, room - used)
        return nodes[0]

    def _links(self, error: BaseException) -> list[Node]:
        nodes: list[Node] = []
        link = ""
        following: BaseException | None = error
        while following is not None and len(nodes) < _CHAIN_MAX:
            repeated = id(following) in self.seen
            nodes.append(Node(following, link, _TRACEBACK(following), repeated=repeated))
            if repeated:
                break
            self.seen.add(id(following))
            current, following = following, _CAUSE(following)
            link = "cause"
            if following is None and not _SUPPRESSED(current):
                link, following = "context", _CONTEXT(current)
        return nodes

    def _group(self, node: Node, levels: int, room: int) -> None:
        most = 0 if levels < 1 else min(self.limits.max_group, max(0, room))
        kept, node.members_left, node.members_from_start = picked(list(_MEMBERS(node.error)), most)
        for index, member in enumerate(kept):
            before = len(self.nodes)
            # An equal share for each, so that the last one is shown as well as the first.
            share = room // (len(kept) - index)
            node.members.append(self.chain(member, None, levels, share))
            room -= len(self.nodes) - before


def collect(
    error: BaseException, traceback: TracebackType | None, limits: Limits, *, show_locals: bool
) -> Node:
    """Return everything about *error* that is shown, cut to *limits*.

    The more exceptions there are, the smaller is each one's share of frames and message.
    """
    collector = _Collector(limits)
    # The event, a list of frames, a frame and its variables are levels of JSON as well.
    start = collector.chain(error, traceback, limits.max_depth - 4, limits.max_exceptions)
    count = len(collector.nodes)
    message_max = min(
        limits.max_message, max(_LEAST_MESSAGE, _SHARES * limits.max_message // count)
    )
    frames_max = min(limits.max_frames, max(2, _SHARES * limits.max_frames // count))
    for node in collector.nodes:
        node.message = safe_str(node.error, message_max, seconds=limits.repr_seconds)
        if node.repeated:
            continue
        try:
            _take_frames(node, frames_max, limits, show_locals=show_locals)
            _take_notes(node, max(1, min(_NOTES_MAX, _SHARES * _NOTES_MAX // count)), limits)
        except Exception as trouble:  # a class that gets in the way: the others are still good
            node.notes.append(f"<incomplete: {safe_repr(trouble, _LOCAL_MAX)}>")
    return start


def _take_notes(node: Node, most: int, limits: Limits) -> None:
    # In the instance's own dict; anything else there is somebody's property.
    notes = BaseException.__getattribute__(node.error, "__dict__").get("__notes__")
    if notes is None:
        return
    if type(notes) is not list and type(notes) is not tuple:
        notes = [notes]
    node.notes_left = max(0, len(notes) - most)
    node.notes = [
        safe_str(note, _NOTE_MAX, seconds=limits.repr_seconds) for note in islice(notes, most)
    ]


def _take_frames(node: Node, most: int, limits: Limits, *, show_locals: bool) -> None:
    found: list[tuple[FrameType, int | None]] = []
    current = node.traceback
    while current is not None:
        found.append((current.tb_frame, current.tb_lineno))
        current = current.tb_next
    kept, node.frames_left, node.frames_from_start = picked(found, most)
    node.frames = [describe_frame(frame, line) for frame, line in kept]
    if show_locals:
        for shown, (frame, _) in zip(node.frames, kept, strict=True):
            shown.variables = _variables(frame, limits)


def describe_frame(frame: FrameType, line: int | None) -> Frame:
    """Return what is shown of *frame*, standing at *line*."""
    code = frame.f_code
    file = code.co_filename
    return Frame(
        clean(file),
        line,
        clean(code.co_qualname),
        clean(code.co_name),
        clean(source_line(file, line, frame.f_globals)),
    )


def _variables(frame: FrameType, limits: Limits) -> dict[str, str]:
    try:
        found = dict(frame.f_locals)
    except Exception as error:  # a class body's namespace may be any mapping
        return {"<locals>": safe_repr(error, _LOCAL_MAX)}
    shown = {
        cut(clean(plain(name)), _LOCAL_MAX): safe_repr(
            value, _LOCAL_MAX, seconds=limits.repr_seconds
        )
        for name, value in islice(found.items(), _LOCALS_MAX)
        if isinstance(name, str)
    }
    if len(found) > _LOCALS_MAX:
        shown["…"] = f"<… {len(found) - _LOCALS_MAX} more>"
    return shown
