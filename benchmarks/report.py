"""The results as Markdown, for the terminal and for the documentation."""

from __future__ import annotations

from typing import Any

from contestants import CONTESTANTS
from contestants.shared_file import LABELS as SHARED
from results import Results
from scenarios import NAMES, scenario
from scenarios.features import LABELS as FEATURES
from scenarios.imports import LABELS as IMPORTS
from targets import quotient, table

OTHER_LABELS = {**SHARED, **IMPORTS}


def label(contestant: str) -> str:
    """The long name."""
    known = CONTESTANTS.get(contestant)
    return known.label if known else OTHER_LABELS.get(contestant, contestant)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def targets(results: Results) -> str:
    """The table "to reach"."""
    rows = [
        [row["row"], row["measured"], row["least"], row["aim"], row["verdict"]] for row in table(results)
    ]
    return markdown(["ratio of medians", "measured", "at least", "aim", ""], rows)


def cell(value: float | None) -> str:
    """A number with as many digits as it deserves."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def loss(results: Results, name: str, contestant: str, **options: Any) -> str:
    """Lines that are missing, or what went wrong."""
    for case in results.cases(name, contestant, **options):
        if "missing" in case:
            return "not installed"
        if "error" in case:
            return f"failed: {case['error']}"
    return f"{results.lost(name, contestant, **options):,}"


def contestants_of(results: Results, name: str) -> list[str]:
    """In the order of the plan."""
    return list(dict.fromkeys(case["contestant"] for case in results.cases(name)))


def values_of(results: Results, name: str, option: str) -> list[Any]:
    """All values of an option, in the order of the plan."""
    return list(dict.fromkeys(case["options"][option] for case in results.cases(name)))


def plain(results: Results, name: str, columns: dict[str, str]) -> str:
    """A row for each contestant, a column for each number."""
    rows = [
        [
            label(who),
            *(cell(results.value(name, who, key)) for key in columns),
            loss(results, name, who),
        ]
        for who in contestants_of(results, name)
    ]
    return markdown(["", *columns.values(), "lost"], rows)


def crossed(results: Results, name: str, option: str, key: str, head: str) -> str:
    """A row for each contestant, a column for each value of an option."""
    values = values_of(results, name, option)
    rows = [
        [
            label(who),
            *(cell(results.value(name, who, key, **{option: value})) for value in values),
            loss(results, name, who),
        ]
        for who in contestants_of(results, name)
    ]
    return markdown(["", *(head.format(value) for value in values), "lost"], rows)


def throughput(results: Results) -> str:
    """With ratios to the two that everything is compared with."""
    rows = []
    base = results.value("throughput", "structlog", "done_us")
    floor = results.value("throughput", "bare", "done_us")
    for who in contestants_of(results, "throughput"):
        done = results.value("throughput", who, "done_us")
        rows.append(
            [
                label(who),
                cell(results.value("throughput", who, "call_us")),
                cell(done),
                cell(results.value("throughput", who, "cpu_us")),
                cell(results.value("throughput", who, "per_second")),
                cell(quotient(base, done)),
                cell(quotient(floor, done)),
                loss(results, "throughput", who),
            ]
        )
    head = ["", "call, µs", "in the file, µs", "CPU, µs", "events/s", "to structlog", "to bare", "lost"]
    return markdown(head, rows)


def features(results: Results) -> str:
    """A row for each feature: µs until in the file, and what it adds to the plain event."""
    who = contestants_of(results, "features")
    rows = []
    for feature in values_of(results, "features", "feature"):
        cells = [FEATURES.get(feature, feature)]
        for name in who:
            value = results.value("features", name, "done_us", feature=feature)
            plain_event = results.value("features", name, "done_us", feature="plain")
            ratio = quotient(value, plain_event)
            cells.append("–" if ratio is None else f"{cell(value)} ({ratio:.2f} ×)")
        rows.append(cells)
    return markdown(["µs until in the file", *map(label, who)], rows)


def memory(results: Results) -> str:
    """Growth from the first twentieth on."""
    columns = {
        "events": "events",
        "first_mb": "MB after 5 %",
        "highest_mb": "highest",
        "growth_mb": "growth",
    }
    return plain(results, "memory", columns)


SECTIONS = {
    "throughput": throughput,
    "latency": lambda results: plain(
        results,
        "latency",
        {"p50": "p50, µs", "p99": "p99", "p99.9": "p99.9", "max": "max", "clock_ns": "clock, ns"},
    ),
    "paced": lambda results: plain(
        results,
        "paced",
        {
            "calm_p50": "calm p50, µs",
            "calm_p99": "p99",
            "calm_p99.9": "p99.9",
            "stalled_p50": "stalling p50, µs",
            "stalled_p99": "p99",
            "stalled_p99.9": "p99.9",
            "per_second": "events/s",
        },
    ),
    "threads": lambda results: crossed(
        results, "threads", "threads", "per_second", "{} threads, events/s"
    ),
    "filtered": lambda results: plain(
        results, "filtered", {"plain_ns": "a text only, ns", "fields_ns": "with eight fields, ns"}
    ),
    "features": features,
    "sizes": lambda results: crossed(results, "sizes", "size", "done_us", "{:,} B, µs"),
    "imports": lambda results: plain(results, "imports", {"milliseconds": "ms", "least": "least"}),
    "processes": lambda results: crossed(
        results, "processes", "processes", "per_second", "{} processes, events/s"
    ),
    "rollover": lambda results: crossed(
        results, "rollover", "archives", "roll_us", "{:,} archives, µs"
    ),
    "memory": memory,
    "outage": lambda results: plain(
        results,
        "outage",
        {"events": "events", "first_mb": "MB before", "growth_mb": "growth", "call_us": "call, µs"},
    ),
}


def sections(results: Results) -> list[tuple[str, str]]:
    """Title and table of every scenario that was run."""
    return [(scenario(name).TITLE, SECTIONS[name](results)) for name in NAMES if name in results]


def remarks(results: Results) -> list[str]:
    """What is not in the tables: who is missing and why, what failed, what was lost."""
    found = [f"{label(who)}: not installed ({why})." for who, why in results.absent().items()]
    found += [f"{name}: {label(who)} failed: {why}." for name, who, why in results.troubles()]
    found += [
        f"{name}: {label(who)} {'lost' if lost > 0 else 'wrote too many:'} {abs(lost):,} lines."
        for name, who, lost in results.losses()
    ]
    return found


def conditions(document: dict[str, Any]) -> str:
    """One paragraph: where, with what, how much."""
    facts = document["facts"]
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items() if number)
    return (
        f"Medians of {document['effort']['rounds']} interleaved rounds of {document['effort']['events']:,}"
        f" events ({document['effort']['name']} form); {facts['implementation']} {facts['python']},"
        f" {facts['system']}, {facts['processor']}, {facts['cores']} cores, output on"
        f" {facts['file_system']}; commit {facts['commit'] or 'unknown'}; {packages}."
    )
