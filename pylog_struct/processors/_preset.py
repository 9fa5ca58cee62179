"""What the renderers for a vendor's field names have in common."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pylog_struct.errors import ConfigError
from pylog_struct.processors._origin import ORIGIN, note_origin
from pylog_struct.processors._shrink import Roles, harmless, shrunk
from pylog_struct.processors.document_limits import DocumentLimits
from pylog_struct.processors.json_renderer import render_json
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from structlog.typing import Processor

    from pylog_struct.processors.json_renderer import OnError

__all__ = ["Preset", "described_exception", "moved_aside", "origin_of", "service_of"]

_ORIGIN_KEYS: Final = ("filename", "lineno", "func_name")


class Preset:
    """Renames the keys of an event, then renders it as the JSON renderer does.

    A key of the call's own that has one of the vendor's names moves to ``extra.<key>``.

    Args:
        origin: Add where the call stands.  Costs a walk over the stack.
        limits: How long strings and lines may be; None for no limits.
        value_limits: What is kept of values that have no end.
        on_error: As for the JSON renderer, and ``"truncated"`` for a line that was shortened.
        strict: Let errors through instead of replacing what causes them: for tests.

    Raises:
        ConfigError: an argument is of another type.

    Threads: thread-safe, holds no state.  Blocks: as the JSON renderer.  Picklable if *on_error* is.
    """

    _roles: ClassVar[Roles] = Roles(prefix=(), message="message")

    def __init__(
        self,
        *,
        origin: bool = False,
        limits: DocumentLimits | None = None,
        value_limits: Limits = DEFAULT_LIMITS,
        on_error: OnError | None = None,
        strict: bool = False,
    ) -> None:
        name = type(self).__name__
        if limits is not None and not isinstance(limits, DocumentLimits):
            raise ConfigError(f"{name}.limits: {limits!r} is no DocumentLimits")
        for flag, value in (("origin", origin), ("strict", strict)):
            if not isinstance(value, bool):
                raise ConfigError(f"{name}.{flag}: {value!r} is neither True nor False")
        self._origin = origin
        self._limits = limits
        self._harmless = sys.maxsize if limits is None else harmless(limits)
        self._value_limits = value_limits
        self._on_error = on_error
        self._strict = strict

    @property
    def processors(self) -> tuple[Processor, ...]:
        """Processors that have to run before this renderer, after all others."""
        return (note_origin,) if self._origin else ()

    def prepared(
        self, *, service: Any = None, on_error: OnError | None = None, strict: bool = False
    ) -> Self:
        """Return a renderer for one pipeline, with the same options."""
        del service  # it is in the event
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._on_error = self._on_error or on_error
        made._strict = self._strict or strict
        return made

    def __call__(self, _logger: Any, _method_name: str, event_dict: Mapping[str, Any], /) -> bytes:
        """Render the event."""
        return self.render(event_dict)

    def render(self, event_dict: Mapping[str, Any], /) -> bytes:
        """Render the event; the same without what processors are called with."""
        document: Any = event_dict
        try:
            if type(event_dict) is dict:
                document = self._document(event_dict.copy())
        except Exception as error:  # a key whose code failed: under the usual names, then
            if self._strict:
                raise
            self._tell("render", error)
        line = render_json(
            document, limits=self._value_limits, on_error=self._on_error, strict=self._strict
        )
        if self._limits is None or len(line) <= self._harmless:
            return line
        shorter = shrunk(line, self._limits, self._roles)
        if shorter is not line:
            self._tell("truncated", ValueError(f"a document of {len(line)} bytes was shortened"))
        return shorter

    def _tell(self, stage: str, error: Exception) -> None:
        if self._on_error is not None:
            with contextlib.suppress(Exception):  # the hook is how trouble is told
                self._on_error(stage, error)

    def _document(self, event: dict[Any, Any]) -> dict[Any, Any]:
        """Return the event under the vendor's names; *event* may be used up."""
        raise NotImplementedError


def moved_aside(event: dict[Any, Any], document: dict[Any, Any]) -> None:
    """Add the fields of the call to *document*; a name that is taken gets ``extra.`` in front."""
    for key, value in event.items():
        target, number = key, 1
        while target in document or (number > 1 and target in event):
            target = f"extra.{key}" if number == 1 else f"extra.{key}_{number}"
            number += 1
        document[target] = value


def described_exception(event: dict[Any, Any]) -> tuple[str, str, str] | None:
    """Take a described exception out of the event: its class, its message, its stack."""
    found = event.get("exception")
    if type(found) is not dict or type(found.get("frames")) is not list:
        return None
    kind, message, stack = found.get("type"), found.get("message"), found.get("stack")
    if not (type(kind) is str and type(message) is str and type(stack) is str):
        return None
    del event["exception"]
    module = found.get("module")
    return (f"{module}.{kind}" if type(module) is str else kind), message, stack


def origin_of(event: dict[Any, Any]) -> dict[str, Any] | None:
    """Take where the call stands out of the event: ``filename``, ``lineno``, ``func_name``."""
    found = event.pop(ORIGIN, None)
    if type(found) is dict and "lineno" in found:
        return found
    kinds = [type(event.get(key)) for key in _ORIGIN_KEYS]
    if kinds == [str, int, str]:
        return {key: event.pop(key) for key in _ORIGIN_KEYS}
    return None


def service_of(event: dict[Any, Any]) -> dict[str, Any] | None:
    """Take the service out of the event, as a dict with ``name`` …; None if there is none."""
    found = event.get("service")
    if type(found) is str:
        del event["service"]
        return {"name": found}
    if type(found) is dict and type(found.get("name")) is str:
        del event["service"]
        return found.copy()
    return None
