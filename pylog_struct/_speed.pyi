"""The compiled hot path: ``native/`` has the sources, ``_lane_in_python`` the same in Python."""

from collections.abc import Callable
from typing import Any, final

class Gate:
    """What the entrance of a queue looks at and moves, as plain integers."""

    size: int
    bytes: int
    limit: int
    byte_limit: int
    wake_size: int
    wake_bytes: int

@final
class Lane:
    """What the plain events of one pipeline need; ``CompiledLane`` fills it."""

    active: bool
    def __new__(
        cls, levels: int, nodes: int, items: int, longest: int, /, **pieces: Any
    ) -> Lane: ...

def methods_for(class_: type, /) -> dict[str, Callable[..., None]]:
    """Return the five methods of a bound logger, by name, for *class_*."""
