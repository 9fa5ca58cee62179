"""Sizes and durations as people write them: ``"100 MB"``, ``"64 KiB"``, ``"1 day"``, ``"250 ms"``."""

from __future__ import annotations

import math
import re
from typing import Final

from pylog_struct.errors import ConfigError

__all__ = ["parse_duration", "parse_size"]

# Compiled on first use: a plain configure() reads no text.
_QUANTITY: Final = r"\s*([0-9]+(?:[._][0-9]+)*(?:\.[0-9]+)?)\s*([A-Za-zµμ]*)\s*"

_LARGEST: Final = 2**63  # beyond it, float() itself may fail

_BYTES: Final[dict[str, int]] = {
    "": 1, "b": 1, "byte": 1, "bytes": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SECONDS: Final[dict[str, float]] = {
    "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "": 1.0,
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "min": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "w": 604800.0, "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip


def _split(text: str) -> tuple[float, str] | None:
    match = re.fullmatch(_QUANTITY, text)
    if match is None:
        return None
    try:
        return float(match[1].replace("_", "")), match[2]
    except ValueError:
        return None


def parse_size(value: float | str, argument: str, *, minimum: int = 1) -> int:
    """Return a size in bytes.

    Args:
        value: Bytes as a number, or text with a unit: ``kB MB GB TB`` are powers of 1,000 and
            ``KiB MiB GiB TiB`` powers of 1,024; case does not matter.
        argument: The name of the setting, for the error.
        minimum: The least size allowed, in bytes.

    Raises:
        ConfigError: not a size, not a whole number of bytes, or below *minimum*.
    """
    size: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        size = value if abs(value) <= _LARGEST else math.inf
    elif isinstance(value, str) and (parts := _split(value)) is not None:
        factor = _BYTES.get(parts[1].lower())
        size = None if factor is None else round(parts[0] * factor, 6)
    if size is None or not math.isfinite(size) or size != int(size) or size < minimum:
        msg = (
            f"{argument}: {value!r} is no size of at least {minimum} byte(s);"
            ' use a number of bytes or text such as "100 MB" or "64 KiB"'
        )
        raise ConfigError(msg)
    return int(size)


def parse_duration(
    value: float | str, argument: str, *, minimum: float = 0.0, exclusive: bool = False
) -> float:
    """Return a duration in seconds.

    Args:
        value: Seconds as a number, or text with a unit: ``us ms s min h day week``.
        argument: The name of the setting, for the error.
        minimum: The least duration allowed, in seconds.
        exclusive: Whether *minimum* itself is refused.

    Raises:
        ConfigError: not a duration, not finite, or too short.
    """
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) <= _LARGEST else math.inf
    elif isinstance(value, str) and (parts := _split(value)) is not None:
        factor = _SECONDS.get(parts[1] if parts[1] in _SECONDS else parts[1].lower())
        seconds = None if factor is None else parts[0] * factor
    if (
        seconds is None
        or not math.isfinite(seconds)
        or seconds < minimum
        or (exclusive and seconds <= minimum)
    ):
        least = f"more than {minimum:g}" if exclusive else f"at least {minimum:g}"
        msg = (
            f"{argument}: {value!r} is no duration of {least} second(s);"
            ' use seconds as a number or text such as "250 ms", "5 s" or "1 day"'
        )
        raise ConfigError(msg)
    return seconds
