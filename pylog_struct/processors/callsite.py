"""Where a log call stands: file, line, function, thread, process, task."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

__all__ = ["Callsite"]

_Source = tuple[str, str, bool, Callable[[Any], Any]]

_PLACES_MAX: Final = 10_000  # functions; code that is generated again and again has no end
_OURS: Final = ("pylog_struct", "structlog", "logging")


class Callsite:
    """A processor that adds where the log call stands, and in what it runs.

    The names are those of structlog's ``CallsiteParameter`` and one more, ``task_name``:

    ============== ==========================================================================
    ``pathname``   path of the source file, as Python knows it
    ``filename``   its last part
    ``module``     the same without ``.py``
    ``lineno``     line of the call, an integer
    ``func_name``  function or method
    ``thread``     identifier of the thread, an integer
    ``thread_name``
    ``process``    process id
    ``process_name``
    ``task_name``  the asyncio task; left out where none runs
    ============== ==========================================================================

    For a stdlib record they are the record's own (so ``stacklevel=`` holds, and a record that came
    through a ``QueueHandler`` names the thread that logged).  A key of the same name from the call
    stays.

    Args:
        parameters: Which; ``filename``, ``lineno`` and ``func_name`` unless given.
        ignore: Modules, with all below them, that are never the caller: helpers of your own around
            the logger.

    Raises:
        ConfigError: an unknown parameter, or none that is a name.

    Threads: thread-safe, no lock.  Cost: a walk over about seven frames.  Never raises.
    """

    def __init__(self, *parameters: str, ignore: Iterable[str] = ()) -> None:
        chosen = parameters or ("filename", "lineno", "func_name")
        for parameter in chosen:
            if parameter not in _SOURCES:
                msg = f"Callsite: unknown parameter {parameter!r}; use {', '.join(_SOURCES)}"
                raise ConfigError(msg)
        if isinstance(ignore, str):
            msg = f"Callsite.ignore: {ignore!r} is one name; give a list of module names"
            raise ConfigError(msg)
        self._parameters = tuple(str(parameter) for parameter in chosen)
        self._ignore = tuple(ignore)
        modules = (*_OURS, *self._ignore)
        self._exactly = frozenset(modules)
        self._below = tuple(f"{module}." for module in modules)
        self._sources = tuple((name, *_SOURCES[name]) for name in self._parameters)
        self._needs_frame = any(of_frame for _, _, of_frame, _ in self._sources)

    def __call__(
        self, _logger: Any, _method_name: str, event_dict: dict[str, Any], /
    ) -> dict[str, Any]:
        """Add what was asked for."""
        record = event_dict.get("_record")
        if isinstance(record, logging.LogRecord):
            for name, attribute, _, _ in self._sources:
                value = getattr(record, attribute, None)
                if value is None and name == "task_name" and record.thread == threading.get_ident():
                    value = _task_name()  # Python 3.11 does not note it
                if value is not None:
                    event_dict.setdefault(name, value)
            return event_dict
        frame = self._caller() if self._needs_frame else None
        for name, _, of_frame, find in self._sources:
            if of_frame and frame is None:
                continue
            value = find(frame)
            if value is not None:
                event_dict.setdefault(name, value)
        return event_dict

    @property
    def keys(self) -> tuple[str, ...]:
        """What it adds."""
        return self._parameters

    @property
    def of_places_only(self) -> bool:
        """Whether all that it adds depends on nothing but the line of code."""
        return all(of_frame for _, _, of_frame, _ in self._sources)

    def place(self, frame: FrameType) -> tuple[bytes, bool]:
        """Return the members for a call in *frame*, and whether any other call in that line has them."""
        found: FrameType | None = frame
        while found is not None and not self._is_callers(found):
            found = found.f_back
        return b"" if found is None else _members(self._sources, found), found is frame

    def adder(self, frames: int) -> Callable[[], bytes]:
        """Return what gives the same as members of an object, each after a comma: for the fast lane.

        What depends on nothing but the line of code is rendered once for each.

        Args:
            frames: How many frames lie between what is returned and the call, that one included.
        """
        places = [source for source in self._sources if source[2]]
        others = [source for source in self._sources if not source[2]]
        # By code object, whose id stays its own for as long as it is in here.
        known: dict[int, tuple[Any, bool, dict[int, bytes]]] = {}

        def add() -> bytes:
            frame: FrameType | None = sys._getframe(frames) if places else None
            entry = None
            while frame is not None:
                code = frame.f_code
                entry = known.get(id(code))
                if entry is None:
                    if len(known) >= _PLACES_MAX:
                        known.clear()
                    entry = known[id(code)] = (code, self._is_callers(frame), {})
                if entry[1]:
                    break
                frame = frame.f_back
            text = b""
            if places and frame is not None and entry is not None:
                line = frame.f_lineno
                text = entry[2].get(line) or entry[2].setdefault(line, _members(places, frame))
            return text + _members(others, None) if others else text

        return add

    def _is_callers(self, frame: FrameType) -> bool:
        module = frame.f_globals.get("__name__")
        # A module that runs as a script may have any name, or none.
        return type(module) is not str or (
            module not in self._exactly and not module.startswith(self._below)
        )

    def _caller(self) -> FrameType | None:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if self._is_callers(frame):
                return frame
            frame = frame.f_back
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._parameters, self._ignore))


def _members(sources: Iterable[_Source], frame: FrameType | None) -> bytes:
    found = {name: find(frame) for name, _, _, find in sources}
    shown = orjson.dumps({name: value for name, value in found.items() if value is not None})[1:-1]
    return b",%b" % shown if shown else b""


def _rebuild(parameters: tuple[str, ...], ignore: tuple[str, ...]) -> Callsite:
    return Callsite(*parameters, ignore=ignore)


def _task_name() -> str | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
    return None if task is None else task.get_name()


def _process_name() -> str:
    # As logging does it: whoever has not imported multiprocessing is the main process.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None:
        return "MainProcess"
    return str(multiprocessing.current_process().name)


def _file_name(frame: FrameType) -> str:
    return os.path.basename(frame.f_code.co_filename)  # noqa: PTH119 - once per event


def _module(frame: FrameType) -> str:
    return os.path.splitext(_file_name(frame))[0]  # noqa: PTH122 - the same


# Name → attribute of a LogRecord, whether it needs the caller's frame, how to find it.
_SOURCES: Final[dict[str, tuple[str, bool, Callable[[Any], Any]]]] = {
    "pathname": ("pathname", True, lambda frame: frame.f_code.co_filename),
    "filename": ("filename", True, _file_name),
    "module": ("module", True, _module),
    "lineno": ("lineno", True, lambda frame: frame.f_lineno),
    "func_name": ("funcName", True, lambda frame: frame.f_code.co_name),
    "thread": ("thread", False, lambda _: threading.get_ident()),
    "thread_name": ("threadName", False, lambda _: threading.current_thread().name),
    "process": ("process", False, lambda _: os.getpid()),
    "process_name": ("processName", False, lambda _: _process_name()),
    "task_name": ("taskName", False, lambda _: _task_name()),
}
