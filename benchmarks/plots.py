"""The plots that the documentation shows, from a benchmark's JSON: ``draw(document, directory)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from figures import (
    BLUE,
    GREY,
    ORANGE,
    SHORT,
    SKY,
    STYLE,
    figure,
    legend,
    lines,
    number,
    plain_ticks,
    save,
)
from matplotlib.ticker import LogLocator
from measuring import POINTS
from report import contestants_of, values_of
from results import Results
from scenarios.features import LABELS as FEATURES

Plot = Callable[[Results], Any]
OURS = ("ours", "ours_queued", "ours_pure", "ours_queued_pure")
FAINT = "#C9CED6"


def throughput(results: Results) -> Any:
    """Bars, the fastest above; ours stand out."""
    who = contestants_of(results, "throughput")
    speed = {name: results.value("throughput", name, "per_second") for name in who}
    known = sorted((value, name) for name, value in speed.items() if value is not None)
    drawn, axes = figure(
        "One thread: events per second, until in the file", 0.9 + 0.34 * len(known)
    )
    colours = [BLUE if name in OURS else FAINT for _, name in known]
    bars = axes.barh(
        [SHORT[name] for _, name in known], [value for value, _ in known], color=colours
    )
    base = speed.get("structlog")
    texts = [
        f" {number(value)}" + (f"   ({value / base:.2f} × structlog)" if base else "")
        for value, _ in known
    ]
    axes.bar_label(bars, texts, fontsize=9)
    axes.set_xlim(0, known[-1][0] * 1.36)
    axes.set_xlabel("events per second")
    axes.grid(visible=False, axis="y")
    plain_ticks(axes.xaxis)
    return drawn


def latency(results: Results) -> Any:
    """Percentiles on an axis where each nine is as wide as the one before."""
    points = [point for point in POINTS if point >= 50]
    drawn, axes = figure("Latency of one call, one thread, flat out")
    for who in contestants_of(results, "latency"):
        values = [results.value("latency", who, f"p{point:g}") for point in points]
        if who not in ("bare_iso", "bare_unbuffered", "stdlib", "logbook") and None not in values:
            lines(axes, who, range(len(points)), [float(value or 0) for value in values])
    axes.set_xticks(range(len(points)), [f"{point:g} %" for point in points])
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.set_xlabel("percentile")
    axes.set_ylabel("µs (logarithmic)")
    legend(axes)
    return drawn


def paced(results: Results) -> Any:
    """Two dots for each contestant: without stalls and with them."""
    found = []
    for who in contestants_of(results, "paced"):
        calm = results.value("paced", who, "calm_p99.9")
        stalled = results.value("paced", who, "stalled_p99.9")
        if calm is not None and stalled is not None:
            found.append((stalled, calm, who))
    found.sort(reverse=True)
    drawn, axes = figure(
        "5,000 events/s: the caller's p99.9 while the file stalls for 50 ms",
        1.3 + 0.42 * len(found),
    )
    for row, (stalled, calm, _) in enumerate(found):
        axes.plot([calm, stalled], [row, row], color=GREY, linewidth=1.5, zorder=1)
    rows = range(len(found))
    calm_ones = [calm for _, calm, _ in found]
    stalled_ones = [stalled for stalled, _, _ in found]
    axes.scatter(calm_ones, rows, s=70, color=SKY, marker="o", label="no stall")
    axes.scatter(
        stalled_ones,
        rows,
        s=70,
        facecolor="none",
        color=ORANGE,
        linewidth=2,
        marker="D",
        label="stalling",
    )
    axes.set_yticks(list(rows), [SHORT[who] for _, _, who in found])
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    axes.set_xlabel("µs from when the event was due to the call's end (logarithmic)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return drawn


def features(results: Results) -> Any:
    """A row for each feature, a dot for each contestant."""
    names = values_of(results, "features", "feature")
    drawn, axes = figure("What an event costs with each feature", 1.4 + 0.42 * len(names))
    rows = {name: len(names) - 1 - position for position, name in enumerate(names)}
    for place, who in enumerate(contestants_of(results, "features")):
        found = [
            (value, rows[name] + 0.16 * (1 - place))
            for name in names
            if (value := results.value("features", who, "done_us", feature=name)) is not None
        ]
        colour, marker = STYLE[who]
        x, y = zip(*found, strict=True)
        axes.scatter(x, y, s=56, color=colour, marker=marker, label=SHORT[who], zorder=3)
    axes.set_yticks(list(rows.values()), [FEATURES.get(name, name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xscale("log")
    axes.set_xticks([tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100) if _inside(axes, tick)])
    plain_ticks(axes.xaxis)
    axes.set_xlabel("µs for one event, until in the file (logarithmic)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return drawn


def _inside(axes: Any, tick: float) -> bool:
    low, high = axes.get_xlim()
    return bool(low <= tick <= high)


def over(
    results: Results, name: str, option: str, key: str, title: str, labels: tuple[str, str]
) -> Any:
    """Lines over the values of an option, both axes logarithmic."""
    drawn, axes = figure(title)
    values = values_of(results, name, option)
    for who in contestants_of(results, name):
        found = [
            (value, measured)
            for value in values
            if (measured := results.value(name, who, key, **{option: value})) is not None
        ]
        if found:
            x, y = zip(*found, strict=True)
            lines(axes, who, x, y)
    axes.set_xscale("log")
    axes.set_xticks(values, [number(value) for value in values])
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < low * 100:  # powers of ten alone would be too few
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    plain_ticks(axes.yaxis)
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.minorticks_off()
    axes.set_xlabel(labels[0])
    axes.set_ylabel(f"{labels[1]} (logarithmic)")
    legend(axes)
    return drawn


def resident(results: Results, name: str, title: str) -> Any:
    """Resident memory at the points of the first round."""
    drawn, axes = figure(title, 3.6)
    highest = 0.0
    for case in results.cases(name):
        if case["runs"]:
            points: Sequence[Sequence[float]] = case["runs"][0]["points"]
            lines(axes, case["contestant"], [x for x, _ in points], [y for _, y in points])
            highest = max(highest, *(y for _, y in points))
    axes.set_ylim(0, highest * 1.15)
    plain_ticks(axes.xaxis)
    axes.set_xlabel("events")
    axes.set_ylabel("resident memory, MB")
    legend(axes)
    return drawn


PLOTS: dict[str, Plot] = {
    "throughput": throughput,
    "latency": latency,
    "paced": paced,
    "features": features,
    "threads": lambda results: over(
        results,
        "threads",
        "threads",
        "per_second",
        "Threads, flat out, one logger: total until in the file",
        ("threads", "events per second"),
    ),
    "sizes": lambda results: over(
        results,
        "sizes",
        "size",
        "done_us",
        "Sizes of events",
        ("bytes of an event (logarithmic)", "µs for one event"),
    ),
    "processes": lambda results: over(
        results,
        "processes",
        "processes",
        "per_second",
        "Processes on one rolling file: total until in the file",
        ("processes", "events per second"),
    ),
    "rollover": lambda results: over(
        results,
        "rollover",
        "archives",
        "roll_us",
        "The call that rolls over, beside so many archives",
        ("archives in the directory (logarithmic)", "µs, median"),
    ),
    "memory": lambda results: resident(results, "memory", "Resident memory over many events"),
    "outage": lambda results: resident(
        results, "outage", "Resident memory while the output is dead"
    ),
}


def draw(
    document: dict[str, Any], directory: Path, suffixes: Sequence[str] = ("svg",)
) -> list[str]:
    """Draw what was measured; return the names of the plots, ``bench-<name>.<suffix>``."""
    directory.mkdir(parents=True, exist_ok=True)
    results = Results(document["scenarios"])
    made = []
    for name, plot in PLOTS.items():
        if any(case["runs"] for case in results.cases(name)):
            save(plot(results), directory, name, suffixes)
            made.append(name)
    return made
