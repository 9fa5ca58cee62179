"""What the two ways to roll have in common: where the active file is, and who decides about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from pylog_struct._frozen import frozen

if TYPE_CHECKING:
    from pylog_struct.sinks._rolling.active import ActiveFile

__all__ = ["Check", "Placement", "Roll", "Segment", "Trigger"]

Check = Literal["same", "truncated", "moved", "deleted", "rolled", "closed"]
"""What a look at the path found."""

Trigger = Callable[[datetime, int], bool]
"""Asked again under the lock, with the period held and the true size: still to be rolled?"""


class Segment:
    """The active file, and what it stands for.

    Attributes:
        file: The open file.
        period: The start of the period that it holds.
        index: Its ``%i``, where it carries its final name from the start.
    """

    __slots__ = ("file", "index", "period")

    def __init__(self, file: ActiveFile, period: datetime, index: int = 0) -> None:
        self.file = file
        self.period = period
        self.index = index


@frozen
class Roll:
    """How a roll-over went.

    Attributes:
        kind: ``rolled`` (by us), ``joined`` (somebody else had), ``kept`` (no reason any more),
            ``deferred`` (not possible now).
        segment: What to write to from here on; None if it must be opened first.
        archive: The path of the archive that was made.
        size: Its size in bytes.
        why: What stood in the way, or what else was done.
    """

    kind: Literal["rolled", "joined", "kept", "deferred"]
    segment: Segment | None
    archive: str = ""
    size: int = 0
    why: str = ""


class Placement(Protocol):
    """Opens, watches and replaces the active file.

    Threads: one caller at a time.  Blocks: for the roll lock, at most ``LOCK_TIMEOUT``.
    """

    def open(self) -> Segment:
        """Open what is to be written to now, creating it if need be.

        Raises:
            OSError: it cannot be opened.
        """
        ...

    def check(self, segment: Segment) -> Check:
        """Look whether the path still leads to the open file; takes note of its size."""
        ...

    def roll(self, segment: Segment, trigger: Trigger) -> Roll:
        """Make an archive of the active file, unless *trigger* says no under the lock.

        Raises:
            OSError: somebody else rolled, and the new file cannot be opened; the old one was closed.
        """
        ...
