"""How much is measured: all of it, the quick form, or so little that a test can wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Effort:
    """Rounds, and what a scenario chooses its numbers by."""

    name: str
    rounds: int
    events: int

    def choose(self, *, full: Any, quick: Any, tiny: Any) -> Any:
        """Return the value for this effort."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.name]


EFFORTS = {
    "full": Effort("full", 7, 100_000),
    "quick": Effort("quick", 3, 20_000),
    "tiny": Effort("tiny", 1, 200),
}


@dataclass(frozen=True)
class Case:
    """One measurement: a contestant and what is asked of it; both name it in the results."""

    contestant: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, contestant: str, **options: Any) -> Case:
        """Make one from keywords."""
        return cls(contestant, tuple(options.items()))
