"""The pieces of an ECS document, for plain events whose keys are known to the renderer's plan.

The same as the quick way of :class:`pylog_struct.processors.ecs.ECS`: what that one learned about a key
(where it stands, with which types of values) is asked once for each call site, not for each event.
"""

from __future__ import annotations

from threading import current_thread
from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct.fast_lane import END, NotYetPlainError, Pieces, Starts
from pylog_struct.processors._ecs_fields import ECS_VERSION
from pylog_struct.processors._ecs_plain import in_range
from pylog_struct.processors._ecs_plan import NO_TYPES
from pylog_struct.processors.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pylog_struct.pipeline import Pipeline
    from pylog_struct.processors.ecs import ECS
    from pylog_struct.processors.timestamps import TimestampSource

__all__ = ["ECSPieces"]

_BITS: Final[dict[type, int]] = {str: 1, int: 2, float: 4, bool: 8, type(None): 16}
"""As in ``native/lane.h``."""
_ARRAYS: Final = 32

_THREADS_MAX: Final = 1_000


class ECSPieces(Pieces):
    """What is made once for many ECS documents.

    Args:
        pipeline: Takes what is rendered.
        ecs: The renderer of this pipeline.
        static: Fields that every event has; the renderer has made its own of them.
        reserved: Keys whose values move elsewhere.
        processors: Of ours only.
        timestamps: Where the times come from.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        ecs: ECS,
        static: Mapping[str, Any],
        reserved: Iterable[str],
        processors: Sequence[Any],
        timestamps: TimestampSource,
    ) -> None:
        self._types_of = ecs.plan.types_of
        self._arrays = ecs.plan.takes_arrays
        super().__init__(pipeline, ecs.limits, {}, {*reserved, *static}, processors, timestamps)
        self.longest = min(self.longest, ecs.harmless)
        self.fixed = ecs.fixed_members()
        self._threads: dict[str, bytes] = {}
        if ecs.names_threads:
            self.thread = self._thread

    def head(self, second: int) -> bytes:
        """Return how the documents of a second begin."""
        return b'{"@timestamp":"%b' % format_timestamp(second)[:-7].encode()

    def frame(self, level: bytes, logger: bytes) -> Starts:
        """Return what stands before and behind the message."""
        version = orjson.dumps(ECS_VERSION)
        return {
            None: b'Z","log.level":"%b","message":' % level,
            END: b',"ecs.version":%b,"log.logger":%b' % (version, logger),
        }

    def members(self, fields: dict[str, Any]) -> bytes:
        """Return *fields* as members of the document.

        Raises:
            NotYetPlainError: a key is not known, or its value is of another type than it takes.
        """
        for key, value in fields.items():
            if type(value) not in self._types_of(key, NO_TYPES) or not in_range(value):
                raise NotYetPlainError
        return super().members(fields)

    def kinds(self, names: tuple[str, ...]) -> bytes:
        """Return which types of values the keywords may have.

        Raises:
            NotYetPlainError: a key is not known.
        """
        known = [self._types_of(name, NO_TYPES) for name in names]
        if not all(known):
            raise NotYetPlainError
        arrays = _ARRAYS if self._arrays else 0
        return bytes(arrays + sum(_BITS.get(kind, 0) for kind in types) for types in known)

    def _thread(self) -> bytes:
        name = current_thread().name
        try:
            return self._threads[name]
        except KeyError:
            if len(self._threads) >= _THREADS_MAX:
                self._threads.clear()
            made = self._threads[name] = b',"process.thread.name":%b' % orjson.dumps(name)
            return made
