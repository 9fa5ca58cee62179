"""How much of one event is kept: the one place where every bound of the renderer has its default."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from pylog_struct._frozen import frozen
from pylog_struct.errors import ConfigError

__all__ = ["DEFAULT_LIMITS", "Limits"]


@frozen(kw_only=True)
class Limits:
    """Bounds on values and on exceptions; what is over a bound is cut, marked and counted.

    Attributes:
        max_depth: Levels of objects and arrays, the event itself being the first.  A deeper one
            becomes ``"<depth>"``.
        max_items: Members of one object or array.
        max_nodes: Members of all objects and arrays of one event together; one key of the event
            gets at most half of what is left, except the last.
        max_string: Characters of one string, and of one key (256 of a key at least).
        max_text: Characters of all strings of one event together, once any bound is exceeded.
        max_repr: Characters of one ``repr``, for objects that have no JSON shape.
        repr_seconds: How long foreign code (a ``__repr__``, a mapping's ``items``, a tzinfo) may
            take the first time one of its class is met, in seconds.
        max_frames: Frames of one traceback: the first and the last ones.
        max_causes: Links of a chain of causes: the first and the last ones.
        max_group: Members of one exception group: the first and the last ones.
        max_exceptions: Exceptions described in one event, whatever their shape.
        max_message: Characters of one exception message.
        max_stack_bytes: Bytes of the stack as text: its beginning and its end.

    Raises:
        ConfigError: a bound is not a positive number, or depth exceeds what the encoder can do.
    """

    max_depth: int = 32
    max_items: int = 10_000
    max_nodes: int = 50_000
    max_string: int = 262_144
    max_text: int = 1_048_576
    max_repr: int = 4_096
    repr_seconds: float = 0.25
    max_frames: int = 50
    max_causes: int = 10
    max_group: int = 10
    max_exceptions: int = 32
    max_message: int = 8_192
    max_stack_bytes: int = 32_768

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.name != "repr_seconds"
            kinds = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
                kind = "whole number of at least 1" if whole else "number of seconds above 0"
                raise ConfigError(f"Limits.{field.name}: {value!r} is no {kind}")
        if self.max_depth > _ENCODER_DEPTH:
            raise ConfigError(
                f"Limits.max_depth: {self.max_depth!r} is more than the encoder can do;"
                f" use 1 to {_ENCODER_DEPTH}"
            )


_ENCODER_DEPTH: Final = 128  # orjson refuses 255 levels; each of ours costs Python frames as well

DEFAULT_LIMITS: Final = Limits()
"""The limits that everything here uses unless told otherwise."""
