"""Exceptions as data: type, message, the stack as text and as frames, causes, groups, notes.

Everything is bounded by :class:`~pylog_struct.processors.limits.Limits`: first and last frames,
causes and members are kept, and ``truncated`` says how many of each were left out.  Local
variables are shown only if asked for: they are where the secrets are.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.processors._stack_text import bounded, frame_lines, stack_text
from pylog_struct.processors._text import clean, cut, plain, type_name
from pylog_struct.processors._tracebacks import Frame, Node, collect, describe_frame, picked
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits
from pylog_struct.processors.safe_repr import safe_repr, safe_str

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import FrameType

__all__ = ["ExceptionFormatter", "describe_exception", "describe_stack", "format_exception"]

_MODULE: Final = type.__dict__["__module__"].__get__
_MACHINERY: Final = ("structlog", "pylog_struct", "logging")
_NAME_MAX: Final = 300


def describe_exception(
    exc: BaseException,
    limits: Limits = DEFAULT_LIMITS,
    *,
    traceback: TracebackType | None = None,
    show_locals: bool = False,
) -> dict[str, Any]:
    """Return *exc* as JSON-safe data; ``docs/reference/rendered-events.md`` has the shape.

    Args:
        exc: The exception.
        limits: How much of it is kept.
        traceback: Used instead of the exception's own.
        show_locals: Add the local variables of each frame (bounded ``repr``).

    Raises:
        BaseException: no ``Exception``; only what a signal handler raises meanwhile.

    Threads: thread-safe.  Blocks: reads each source file once, see also :func:`safe_repr`.
    """
    try:
        node = collect(exc, traceback, limits, show_locals=show_locals)
        text, left = stack_text(node, limits.max_stack_bytes)
        described = _as_dict(node)
        described["stack"] = text
        if left:
            described.setdefault("truncated", {})["stack_bytes"] = left
    except Exception as error:
        message = safe_str(exc, limits.max_message, seconds=limits.repr_seconds)
        name = type_name(type(exc))
        described = {
            "type": name,
            "message": message,
            "stack": f"{name}: {message}",
            "frames": [],
            "truncated": {"reason": safe_repr(error, _NAME_MAX)},
        }
    return described


def _as_dict(node: Node) -> dict[str, Any]:
    cls = type(node.error)
    shown: dict[str, Any] = {"type": type_name(cls)}
    module: Any = _MODULE(cls)
    if isinstance(module, str) and module != "builtins":
        shown["module"] = cut(clean(plain(module)), _NAME_MAX)
    shown["message"] = node.message
    if node.repeated:
        shown["repeated"] = True
        return shown
    shown["frames"] = [_frame_as_dict(frame) for frame in node.frames]
    if node.notes:
        shown["notes"] = node.notes
    if node.members:
        shown["exceptions"] = [_as_dict(member) for member in node.members]
    if node.following is not None:
        shown[node.following.link] = _as_dict(node.following)
    left = {
        name: count
        for name, count in (
            ("frames", node.frames_left),
            ("notes", node.notes_left),
            ("exceptions", node.members_left),
            ("causes", node.causes_left),
        )
        if count
    }
    if left:
        shown["truncated"] = left
    return shown


def _frame_as_dict(frame: Frame) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "file": cut(frame.file, _NAME_MAX),
        "line": frame.line,
        "function": cut(frame.function, _NAME_MAX),
    }
    if frame.code:
        shown["code"] = frame.code
    if frame.variables is not None:
        shown["locals"] = frame.variables
    return shown


def describe_stack(frame: FrameType | None, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the stack that ends at *frame* as text, outermost call first."""
    found: list[FrameType] = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    found.reverse()
    kept, left, after = picked(found, limits.max_frames)
    frames = [describe_frame(one, one.f_lineno) for one in kept]
    lines = ["Stack (most recent call last):", *frame_lines(frames, left, after)]
    return bounded("\n".join(lines), limits.max_stack_bytes)[0]


def _caller() -> FrameType | None:
    """The frame that made the log call: the first that is not of the logging machinery."""
    frame: FrameType | None = sys._getframe(1)
    start = frame
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if not isinstance(module, str) or module.partition(".")[0] not in _MACHINERY:
            return frame
        frame = frame.f_back
    return start


class ExceptionFormatter:
    """A processor that turns ``exc_info`` into ``exception`` and ``stack_info`` into ``stack``.

    ``exc_info`` may be True (the exception being handled), an exception, or the three values of
    :func:`sys.exc_info`; with no exception in them the key just goes.  Anything else is not an
    exception, and not lost either: it stays where it is.  A key ``exception`` or ``stack`` that
    the call had as well moves to ``extra.exception`` or ``extra.stack``.

    Args:
        limits: How much of an exception is kept.
        show_locals: Add the local variables of each frame.  They may hold secrets.

    Picklable.  Threads: thread-safe, holds no state.
    """

    __slots__ = ("_limits", "_show_locals")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, show_locals: bool = False) -> None:
        self._limits = limits
        self._show_locals = show_locals

    def __call__(
        self, _logger: Any, _method_name: str, event_dict: MutableMapping[str, Any], /
    ) -> MutableMapping[str, Any]:
        """Format what is there."""
        if "exc_info" in event_dict:
            self._exception(event_dict)
        if "stack_info" in event_dict:
            self._stack(event_dict)
        return event_dict

    def _exception(self, event_dict: MutableMapping[str, Any]) -> None:
        given = event_dict["exc_info"]
        traceback: TracebackType | None = None
        error: BaseException | None = None
        lost = False
        kind = type(given)
        if issubclass(kind, BaseException):
            error = given
        elif kind is tuple and len(given) == 3:
            error, traceback, lost = _from_tuple(given)
        elif given is None or given is False or kind is int:
            error = sys.exc_info()[1] if given else None
        else:
            error = sys.exc_info()[1] if given is True else None
            lost = given is not True
        if lost:
            return
        del event_dict["exc_info"]
        if error is not None:
            described = describe_exception(
                error, self._limits, traceback=traceback, show_locals=self._show_locals
            )
            _put(event_dict, "exception", described)

    def _stack(self, event_dict: MutableMapping[str, Any]) -> None:
        given = event_dict["stack_info"]
        if type(given) is str and given:  # the stdlib has made the text already
            text = bounded(clean(given), self._limits.max_stack_bytes)[0]
        elif given is True or (type(given) is int and given):
            text = describe_stack(_caller(), self._limits)
        elif given is None or given is False or type(given) in (str, int):
            text = ""
        else:
            return
        del event_dict["stack_info"]
        if text:
            _put(event_dict, "stack", text)


def _from_tuple(
    given: tuple[Any, Any, Any],
) -> tuple[BaseException | None, TracebackType | None, bool]:
    """Return the exception, its traceback, and whether the tuple is something else altogether."""
    kind, error, traceback = given
    if kind is None and error is None and traceback is None:
        return None, None, False
    if not issubclass(type(error), BaseException):
        return None, None, True
    return error, traceback if type(traceback) is TracebackType else None, False


def _put(event_dict: MutableMapping[str, Any], key: str, value: Any) -> None:
    if key in event_dict:
        event_dict[f"extra.{key}"] = event_dict[key]
    event_dict[key] = value


format_exception: ExceptionFormatter = ExceptionFormatter()
"""The processor with the default limits and without local variables."""
