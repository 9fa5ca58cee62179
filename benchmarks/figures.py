"""How plots look here: colours that colour-blind readers tell apart, and a marker for each line too.

The colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/).  A contestant has the same
colour and marker in every plot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#B8A800", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8A8A8A"

STYLE = {
    "bare": (BLACK, "x"),
    "bare_iso": (GREY, "+"),
    "bare_unbuffered": (GREY, "x"),
    "structlog": (ORANGE, "s"),
    "structlog_queued": (YELLOW, "D"),
    "ours": (SKY, "o"),
    "ours_queued": (BLUE, "o"),
    "ours_pure": (SKY, "."),
    "ours_queued_pure": (BLUE, "."),
    "picologging": (GREEN, "^"),
    "picologging_queued": (GREEN, "v"),
    "stdlib": (PURPLE, "P"),
    "stdlib_queued": (PURPLE, "X"),
    "loguru": (VERMILION, "<"),
    "loguru_queued": (VERMILION, ">"),
    "logbook": (GREY, "d"),
    "concurrent_log_handler": (PURPLE, "h"),
}
SHORT = {
    "bare": "bare loop, buffered",
    "bare_iso": "bare loop, ISO time",
    "bare_unbuffered": "bare loop, os.write",
    "structlog": "structlog, fast set-up",
    "structlog_queued": "structlog + QueueHandler",
    "ours": "pylog_struct, synchronous",
    "ours_queued": "pylog_struct, queued",
    "ours_pure": "pylog_struct, sync, pure Python",
    "ours_queued_pure": "pylog_struct, queued, pure Python",
    "picologging": "picologging + orjson",
    "picologging_queued": "picologging, its queue",
    "stdlib": "stdlib + json-logger",
    "stdlib_queued": "stdlib, QueueListener",
    "loguru": "loguru",
    "loguru_queued": "loguru, enqueue",
    "logbook": "logbook + orjson",
    "concurrent_log_handler": "concurrent-log-handler",
}
LOOK = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "legend.frameon": False,
    "svg.hashsalt": "pylog_struct",
    "figure.facecolor": "white",
}


def number(value: float, _position: object = None) -> str:
    """1.2M, 350k, 12, 0.5."""
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def figure(title: str, height: float = 4.2, width: float = 8.6) -> tuple[Any, Any]:
    """A figure with one set of axes."""
    mpl.rcParams.update(LOOK)
    drawn, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.set_title(title)
    return drawn, axes


def save(drawn: Any, directory: Path, name: str, suffixes: Sequence[str]) -> None:
    """Write it in each format, without the date: what did not change gives the same file."""
    for suffix in suffixes:
        metadata = {"Date": None} if suffix == "svg" else None
        drawn.savefig(directory / f"bench-{name}.{suffix}", dpi=110, metadata=metadata)
    plt.close(drawn)


def plain_ticks(axis: Any) -> None:
    """Numbers as people write them, also on a logarithmic axis."""
    axis.set_major_formatter(FuncFormatter(number))
    axis.set_minor_formatter(NullFormatter())


def lines(axes: Any, who: str, x: Sequence[float], y: Sequence[float]) -> None:
    """One contestant's line."""
    colour, marker = STYLE.get(who, (GREY, "."))
    axes.plot(
        x,
        y,
        color=colour,
        marker=marker,
        markersize=6,
        linewidth=2.6 if who.startswith("ours") else 1.4,
        label=SHORT.get(who, who),
        zorder=3 if who.startswith("ours") else 2,
    )


def legend(axes: Any) -> None:
    """To the right of the axes, in the order in which the lines end there."""
    handles, labels = axes.get_legend_handles_labels()

    def last(handle: Any) -> float:
        value = float(handle.get_ydata()[-1])
        return -value if math.isfinite(value) else 0.0

    pairs = sorted(zip(handles, labels, strict=True), key=lambda pair: last(pair[0]))
    axes.legend(
        [handle for handle, _ in pairs],
        [text for _, text in pairs],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
    )
