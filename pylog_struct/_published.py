"""What of the ledgers is in the metrics already: a counter is raised by what grew since the last look."""

from __future__ import annotations

import weakref
from typing import Any

__all__ = ["Published", "alive", "entry_of"]


class Published:
    """What of one ledger (or of one pipeline's counts) is in the metrics already."""

    __slots__ = ("_reference", "_strong", "known", "roots")

    def __init__(self, source: Any) -> None:
        self.attach(source)
        self._reference = weakref.ref(source)
        self.roots = 0  # trees of which it is the outermost sink
        self.known: dict[Any, float] = {}

    @property
    def source(self) -> Any:
        """The object with the numbers; None if it was detached and nobody has it any more."""
        return self._reference()

    @property
    def attached(self) -> bool:
        """Whether it is part of a pipeline, and kept alive here."""
        return self._strong is not None

    def attach(self, source: Any) -> None:
        """Make it part of a pipeline, again."""
        self._strong = source

    def detach(self) -> None:
        """Count on for as long as somebody else keeps it: an event after shutdown is a drop, too."""
        self._strong = None

    def growth(self, key: Any, value: float) -> float:
        """How much *value* grew since the last call; a ledger that began again counts in full."""
        before = self.known.get(key, 0)
        self.known[key] = value
        return value - before if value >= before else value


def entry_of(entries: list[Published], source: Any) -> Published:
    """Return the entry of *source*, made if there is none."""
    for entry in entries:
        if entry.source is source:
            return entry
    entries.append(Published(source))
    return entries[-1]


def alive(entries: list[Published]) -> list[tuple[Published, Any]]:
    """The entries with their sources, which cannot vanish meanwhile; the others are forgotten."""
    found = [(entry, source) for entry in entries if (source := entry.source) is not None]
    entries[:] = [entry for entry, _ in found]
    return found
