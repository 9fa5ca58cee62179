"""Which pipeline takes the events now, and by which way: the fast lane, or step by step."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import fork
from pylog_struct.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.fast_lane import FastLane
    from pylog_struct.pipeline import Pipeline
    from pylog_struct.thresholds import NamedLogger

__all__ = ["ACTIVE", "Active"]

_ROOM: Final = 100  # frames that rendering, delivering and reporting a failure stay below


class Active:
    """The current pipeline of this process, and what could not even be rendered at its time."""

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._direct = True
        self._install: Callable[[FastLane | None], None] = _nothing
        self.lane: FastLane | None = None
        """What takes plain events now; None while all go step by step."""
        self._step_by_step: Callable[..., None] = _nothing
        self.emit: Callable[..., None] = _nothing
        """Takes an event step by step: bound logger, level, its name, event, ``%`` arguments, fields,
        and the time of the call in nanoseconds if that is known."""
        # What came with the stack all but used up: a record, or if there was no room even to render
        # (level, level name, logger, event, time in ns).
        self.overdue: deque[Record | tuple[int, str, NamedLogger, str, int]] = deque(maxlen=1000)
        fork.register(self)

    def set_up(
        self, step_by_step: Callable[..., None], install: Callable[[FastLane | None], None]
    ) -> None:
        """Set what takes events step by step, and what gives the bound logger its methods."""
        self._step_by_step = self.emit = step_by_step
        self._install = install

    @property
    def pipeline(self) -> Pipeline | None:
        """What takes the events now; None before ``configure``."""
        return self._pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Pipeline | None) -> None:
        self._pipeline = pipeline
        lane = None if pipeline is None or not self._direct else pipeline.fast_lane()
        self._close_lane()
        self._install(lane)
        if lane is not None:
            lane.active = True
            self.lane = lane

    def _close_lane(self) -> None:
        lane, self.lane = self.lane, None
        if lane is not None:
            lane.active = False

    def set_direct(self, *, direct: bool) -> None:
        """Say whether nothing stands between the loggers and the pipeline."""
        if direct != self._direct:
            self._direct = direct
            self.pipeline = self._pipeline

    def _after_fork_in_child(self) -> None:
        # The fast lane leads into the parent's queue.  The new one is made by the first event, when
        # everything else is ready for this process.
        self._close_lane()
        self.emit = self._first_in_child

    def _first_in_child(self, *event: Any) -> None:
        self.emit = self._step_by_step
        self.pipeline = self._pipeline
        self.emit(*event)

    def catch_up(self) -> None:
        """Deliver what was put off, if this stack has room for it."""
        pipeline = self._pipeline
        while pipeline is not None and self.overdue and _has_room(_ROOM):
            overdue = self.overdue.popleft()
            if isinstance(overdue, Record):
                pipeline.deliver(overdue)
                continue
            level, level_name, logger, event, moment = overdue
            fields = {"render_error": "logged with no stack left; its fields are lost"}
            pipeline.counts.error("pipeline")
            pipeline.emit(level, level_name, logger, event, (), {}, fields, moment)


def _nothing(*_: object) -> None:
    """Stand for both until the bound logger's module is there."""


def _has_room(frames: int) -> bool:
    """Whether the stack can grow by so many frames."""
    try:
        return frames == 0 or _has_room(frames - 1)
    except RecursionError:
        return False


ACTIVE: Final = Active()
"""The one of this process."""
