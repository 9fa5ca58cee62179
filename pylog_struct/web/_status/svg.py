"""Small plots as SVG, drawn on the server: no script, no style attributes, nothing loaded from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pylog_struct.web._status.history import SPAN
from pylog_struct.web._status.html import Html, element

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bar", "sparkline"]

_WIDTH: Final = 300
_HEIGHT: Final = 40
_GAP: Final = 10.0  # seconds without a sample that are shown as a gap


def sparkline(points: Sequence[tuple[float, float]], now: float, label: str, tone: str) -> Html:
    """Draw the last minutes as a line with the area below it; the newest at the right edge.

    Args:
        points: (when, how much), oldest first; monotonic seconds.
        now: The right edge.
        label: What it shows, in words, for those who do not see it.
        tone: A CSS class: ``in``, ``out``, ``wait`` or ``loss``; a line of zeros has no colour.
    """
    most = max((value for _, value in points), default=0.0)
    marks: list[Html] = []
    for run in _runs(points):
        spots = [f"{_x(at, now)} {_y(value, most)}" for at, value in run]
        begin, end = _x(run[0][0], now), _x(run[-1][0], now)
        line = "L".join(spots)
        marks.append(
            element("path", class_="area", d=f"M{begin} {_HEIGHT}L{line}L{end} {_HEIGHT}Z")
        )
        marks.append(element("path", class_="line", d=f"M{line}" if len(run) > 1 else f"M{line}h1"))
    base = element("path", class_="base", d=f"M0 {_HEIGHT - 0.5}H{_WIDTH}")
    return element(
        "svg",
        base,
        *marks,
        class_=f"plot {tone if most > 0 else 'none'}",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def _runs(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Cut where samples are missing: a line across a gap would be invented."""
    runs: list[list[tuple[float, float]]] = []
    for point in points:
        if runs and point[0] - runs[-1][-1][0] <= _GAP:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _x(at: float, now: float) -> str:
    return f"{max(0.0, _WIDTH * (1 - (now - at) / SPAN)):.1f}"


def _y(value: float, most: float) -> str:
    return f"{_HEIGHT - 1 - (_HEIGHT - 3) * (value / most if most > 0 else 0.0):.1f}"


def bar(fraction: float, high: float, label: str) -> Html:
    """Draw how full something is.

    Args:
        fraction: From 0 to 1.
        high: From where on it is too full.
        label: The same in words.
    """
    tone = "full" if fraction >= 0.98 else "high" if fraction >= high else "fine"
    width = 0 if fraction <= 0 else max(100 * fraction, 0.6)
    return element(
        "svg",
        element("rect", class_="track", width="100%", height="100%", rx=3),
        element("rect", class_="fill", width=f"{width:.1f}%", height="100%", rx=3),
        element("rect", class_="mark", x=f"{100 * high:.1f}%", width=1, height="100%"),
        class_=f"bar {tone}",
        role="img",
        aria_label=label,
    )
