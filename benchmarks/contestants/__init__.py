"""Who takes part.  Each contestant is a function in a module that is imported in its own process only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from events import Emit


def nothing() -> None:
    """Nothing to do."""


@dataclass
class Subject:
    """A contestant that is set up and writes to its file.

    ``drain()`` returns when every event so far is in the file (in the kernel, not on the disk);
    ``finish()`` ends the contestant.  ``sized(text)`` makes an ``emit`` of events with that text.
    """

    emit: Emit
    sized: Callable[[str], Emit]
    finish: Callable[[], object]
    drain: Callable[[], object] = nothing
    logger: Any = None


@dataclass(frozen=True)
class Contestant:
    """What is known without importing anything: who, where, and what has to be installed."""

    key: str
    label: str
    where: str
    packages: tuple[str, ...]
    queued: bool = False
    slow: int = 1
    """By how much fewer events it gets where a run should not take minutes."""
    hint: str = ""
    """What helps where it is not installed."""

    def build(self, path: Path, open_file: Any = None) -> Subject:
        """Import what it needs and set it up; *open_file* replaces its file, see ``stalling``."""
        module, function = self.where.split(":")
        make = getattr(import_module(f"contestants.{module}"), function)
        return make(path) if open_file is None else make(path, open_file)


OLD = "It has wheels up to Python 3.12: make bench PYTHON=python3.12 VENV=.venv-3.12"
_ALL = (
    Contestant("bare", "bare loop: orjson, buffered write", "bare:buffered", ("orjson",)),
    Contestant("bare_iso", "bare loop, the time as ISO text", "bare:iso", ("orjson",)),
    Contestant(
        "bare_unbuffered", "bare loop, one os.write per event", "bare:unbuffered", ("orjson",)
    ),
    Contestant(
        "structlog",
        "structlog, its documented fast set-up",
        "on_structlog:fast",
        ("structlog", "orjson"),
    ),
    Contestant("ours", "pylog_struct, synchronous", "ours:direct", ("pylog-struct",)),
    Contestant(
        "ours_queued", "pylog_struct, queued", "ours:queued", ("pylog-struct",), queued=True
    ),
    Contestant(
        "ours_pure",
        "pylog_struct, synchronous, nothing compiled",
        "ours:direct_pure",
        ("pylog-struct",),
    ),
    Contestant(
        "ours_queued_pure",
        "pylog_struct, queued, nothing compiled",
        "ours:queued_pure",
        ("pylog-struct",),
        queued=True,
    ),
    Contestant(
        "picologging",
        "picologging, orjson",
        "with_picologging:direct",
        ("picologging", "orjson"),
        hint=OLD,
    ),
    Contestant(
        "picologging_queued",
        "picologging, orjson, its queue",
        "with_picologging:queued",
        ("picologging", "orjson"),
        queued=True,
        hint=OLD,
    ),
    Contestant(
        "structlog_queued",
        "structlog, stdlib QueueHandler",
        "on_structlog:queued",
        ("structlog", "orjson"),
        queued=True,
    ),
    Contestant(
        "stdlib",
        "stdlib, python-json-logger (orjson)",
        "stdlib:direct",
        ("python-json-logger", "orjson"),
    ),
    Contestant(
        "stdlib_queued",
        "stdlib, the same, QueueHandler and QueueListener",
        "stdlib:queued",
        ("python-json-logger", "orjson"),
        queued=True,
    ),
    Contestant("logbook", "logbook, orjson", "with_logbook:direct", ("logbook", "orjson")),
    Contestant("loguru", "loguru, serialize", "with_loguru:direct", ("loguru",), slow=4),
    Contestant(
        "loguru_queued",
        "loguru, serialize, enqueue",
        "with_loguru:queued",
        ("loguru",),
        queued=True,
        slow=10,
    ),
)
CONTESTANTS = {contestant.key: contestant for contestant in _ALL}
