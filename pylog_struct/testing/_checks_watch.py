"""Notices I/O inside the constructor of a sink, by means of Python's audit events.

An audit hook sees files, sockets and processes at the moment they are made, also those that are
gone when the constructor returns; threads have no such event before Python 3.12 and are noticed by
a profile function, which sees ``Thread.start``.  An audit hook cannot be removed, only be made to do
nothing: it is installed by the first check, and looks at one thread while that checks.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["io_in_constructors"]

_EVENTS: Final = frozenset(
    {
        "open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.truncate",
        "socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo",
        "subprocess.Popen", "os.fork", "sqlite3.connect",
    }
)  # fmt: skip
_START: Final = threading.Thread.start.__code__
_watched: dict[int, list[str]] = {}  # by thread
_installed = threading.Lock()


@contextmanager
def io_in_constructors() -> Iterator[list[str]]:
    """Collect what the constructors of sinks do in this thread, as text.

    Only what has the ``__init__`` of a sink on its stack counts: a factory may well make the
    directory or start the server that the sink will use.
    """
    if _installed.acquire(blocking=False):  # held for ever: once per process
        sys.addaudithook(_hook)
    found: list[str] = []
    _watched[threading.get_ident()] = found
    profiler = sys.getprofile()

    def profile(frame: FrameType, event: str, _: object) -> None:  # pragma: no cover - see _hook
        if event == "call" and frame.f_code is _START and _in_constructor(frame):
            found.append("threading.Thread.start")

    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(profiler)
        del _watched[threading.get_ident()]


def _hook(event: str, args: tuple[Any, ...]) -> None:  # pragma: no cover - hooks are not traced
    if not _watched or event not in _EVENTS:
        return
    found = _watched.get(threading.get_ident())
    if found is not None and _in_constructor(sys._getframe(1)):
        what = args[0] if event in ("open", "os.listdir", "os.mkdir", "sqlite3.connect") else ""
        found.append(f"{event} {what!r}" if what else event)


def _in_constructor(frame: FrameType | None) -> bool:  # pragma: no cover - see _hook
    inside = False
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib"):
            return False  # a late import reads modules, not data
        if code.co_name in ("__init__", "__post_init__") and code.co_argcount:
            inside = inside or _is_sink(frame.f_locals.get(code.co_varnames[0]))
        frame = frame.f_back
    return inside


def _is_sink(thing: object) -> bool:  # pragma: no cover - see _hook
    """Whether *thing* has a sink's methods: files have those names, too, but close no timeout."""
    kind = type(thing)
    close = getattr(getattr(kind, "close", None), "__code__", None)
    has_methods = callable(getattr(kind, "write", None)) and callable(getattr(kind, "flush", None))
    return has_methods and close is not None and close.co_argcount > 1
