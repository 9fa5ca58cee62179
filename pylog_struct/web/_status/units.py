"""Numbers as people read them: ``12.3 k``, ``4.1 MiB``, ``85 ms``, ``3 min ago``."""

from __future__ import annotations

from typing import Final

__all__ = ["ago", "amount", "count", "rate", "seconds", "size", "span"]

NOTHING: Final = "\N{EN DASH}"
_SPACE: Final = "\N{NO-BREAK SPACE}"
_THOUSANDS: Final = ("", "k", "M", "G", "T", "P")
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def count(number: float) -> str:
    """Return a whole number in groups of three digits."""
    return f"{round(number):,}"


def amount(number: float) -> str:
    """Return a number in at most five characters and a unit: exact below 10,000."""
    if abs(number) < 10_000:
        return count(number)
    return _scaled(number, 1000.0, _THOUSANDS)


def rate(per_second: float | None) -> str:
    """Return a number per second; without one, a dash."""
    if per_second is None:
        return NOTHING
    if 0 < per_second < 10:
        return f"{per_second:.1f}"
    return amount(per_second)


def size(number: float) -> str:
    """Return a number of bytes."""
    return _scaled(number, 1024.0, _BINARY)


def seconds(value: float | None) -> str:
    """Return the duration of something short."""
    if value is None:
        return NOTHING
    if value < 0.001:
        return f"{value * 1e6:.0f}{_SPACE}µs"
    if value < 1:
        return f"{value * 1e3:.{0 if value >= 0.01 else 1}f}{_SPACE}ms"
    return f"{value:.1f}{_SPACE}s" if value < 60 else span(value)


def span(value: float) -> str:
    """Return a duration in its two largest units: ``9 min 58 s``."""
    left = max(round(value), 0)
    parts: list[str] = []
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, length)
        if number or parts:
            parts.append(f"{number}{_SPACE}{unit}" if number else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts)) or f"0{_SPACE}s"


def ago(value: float) -> str:
    """Return how long ago something was, in one unit."""
    if value < 1:
        return "now"
    return f"{span(value).split(' ')[0]} ago"


def _scaled(number: float, base: float, units: tuple[str, ...]) -> str:
    step = 0
    while abs(number) >= base and step < len(units) - 1:
        number /= base
        step += 1
    if not units[step]:
        return count(number)
    digits = 0 if step == 0 or abs(number) >= 100 else 1
    return f"{number:.{digits}f}{_SPACE}{units[step]}"
