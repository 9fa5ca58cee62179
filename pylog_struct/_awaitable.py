"""What ``await log.ainfo(…)`` waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pylog_struct.pipeline import Pipeline
    from pylog_struct.record import Record

__all__ = ["Delivery", "deliver_elsewhere"]


def deliver_elsewhere(pipeline: Pipeline, record: Record) -> Awaitable[None] | None:
    """Wait for room in another thread; None if there is no loop, or no thread to be had any more."""
    try:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, pipeline.deliver, record)
    except RuntimeError:
        return None


class Delivery(Coroutine[Any, Any, None]):
    """What ``await log.ainfo(…)`` waits for.  The event is on its way even if nobody awaits it."""

    __slots__ = ("_future", "_steps")

    def __init__(self, future: Awaitable[None] | None = None) -> None:
        self._future = future
        self._steps: Any = None

    def __await__(self) -> Generator[Any, Any, None]:
        if self._future is not None:
            # Shielded: a cancelled caller stops waiting, its event does not get lost.
            yield from asyncio.shield(self._future).__await__()

    def send(self, value: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.throw(*error)

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()
