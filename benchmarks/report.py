"""The results as Markdown, for the terminal and for the documentation."""

from __future__ import annotations

from collections import Counter
from typing import Any

from contestants import CONTESTANTS
from contestants.shared_file import LABELS as SHARED
from results import Results
from scenarios import NAMES, scenario
from scenarios.features import LABELS as FEATURES
from scenarios.imports import MODULES
from scenarios.parts import LABELS as PARTS
from scenarios.stages import LABELS as STAGES
from scenarios.stages import WHO as STAGED
from targets import quotient, table


def label(contestant: str, name: str = "") -> str:
    """The long name; what is imported is named by its modules."""
    other = {"imports": MODULES, "parts": PARTS}.get(name)
    if other:
        return other.get(contestant, contestant)
    known = CONTESTANTS.get(contestant)
    return known.label if known else SHARED.get(contestant, contestant)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def targets(results: Results) -> str:
    """The table "to reach"."""
    rows = [
        [row["row"], row["measured"], row["least"], row["aim"], row["verdict"]]
        for row in table(results)
    ]
    return markdown(["ratio of medians", "measured", "at least", "aim", ""], rows)


def score(results: Results) -> str:
    """The table in one line."""
    verdicts = Counter(row["verdict"] for row in table(results))
    measured = sum(verdicts.values()) - verdicts["not measured"]
    return (
        f"{verdicts['aim'] + verdicts['pass']} of {measured} rows reach what is asked at least,"
        f" {verdicts['aim']} the aim"
    )


def cell(value: float | None) -> str:
    """A number with as many digits as it deserves."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 100 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}"


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
            label(who, name),
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
    return markdown([head, *(f"{value:,}" for value in values), "lost"], rows)


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
    head = [
        "",
        "call, µs",
        "in the file, µs",
        "CPU, µs",
        "events/s",
        "to structlog",
        "to bare",
        "lost",
    ]
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


def parts(results: Results) -> str:
    """Nobody can lose a line here."""
    rows = [
        [label(who, "parts"), cell(results.value("parts", who, "nanoseconds"))]
        for who in contestants_of(results, "parts")
    ]
    return markdown(["", "ns"], rows)


def stages(results: Results) -> str:
    """Both forms of the hot path, a stage a row."""
    rows = [
        [text, *(cell(results.value("stages", who, "nanoseconds", stage=stage)) for who in STAGED)]
        for stage, text in STAGES.items()
    ]
    return markdown(["caller's thread time, ns", "compiled", "in Python"], rows)


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
        results, "threads", "threads", "per_second", "events/s with so many threads"
    ),
    "filtered": lambda results: plain(
        results, "filtered", {"plain_ns": "a text only, ns", "fields_ns": "with eight fields, ns"}
    ),
    "features": features,
    "sizes": lambda results: crossed(
        results, "sizes", "size", "done_us", "µs for an event of so many bytes"
    ),
    "imports": lambda results: plain(results, "imports", {"milliseconds": "ms", "least": "least"}),
    "processes": lambda results: crossed(
        results, "processes", "processes", "per_second", "events/s with so many processes"
    ),
    "rollover": lambda results: crossed(
        results, "rollover", "archives", "roll_us", "µs beside so many archives"
    ),
    "memory": memory,
    "parts": parts,
    "stages": stages,
    "outage": lambda results: plain(
        results,
        "outage",
        {"events": "events", "first_mb": "MB before", "growth_mb": "growth", "call_us": "call, µs"},
    ),
}


WITH_PLOT = frozenset(NAMES) - {"filtered", "imports", "parts", "stages"}


def sections(results: Results) -> list[tuple[str, str]]:
    """Title and table of every scenario that was run."""
    return [(scenario(name).TITLE, SECTIONS[name](results)) for name in NAMES if name in results]


def hint(contestant: str) -> str:
    """What can be done about a missing one."""
    known = CONTESTANTS.get(contestant)
    return f" {known.hint}" if known and known.hint else ""


def remarks(results: Results) -> list[str]:
    """What is not in the tables: who is missing and why, what failed, what was lost."""
    found = [
        f"{label(who)}: not installed ({why}).{hint(who)}" for who, why in results.absent().items()
    ]
    troubles = Counter(results.troubles())
    found += [
        f"{name}: {label(who)} failed{f' ({times} cases)' if times > 1 else ''}: {why}."
        for (name, who, why), times in troubles.items()
    ]
    found += [
        f"{name}: {label(who)} {'lost' if lost > 0 else 'wrote too many:'} {abs(lost):,} lines."
        for name, who, lost in results.losses()
    ]
    return found


def readme(document: dict[str, Any], images: str) -> str:
    """The part of README.md: one plot, the contestants, the table "to reach", and the conditions.

    Args:
        document: What ``run.py --json`` wrote.
        images: Directory of the plots, as the README has to name it.
    """
    results = Results(document["scenarios"])
    parts = [
        f"![Events per second of all contestants]({images}/bench-throughput.svg)",
        throughput(results),
        "Ratios within one run, and what they were meant to reach:",
        targets(results),
        conditions(document),
    ]
    said = remarks(results)
    if said:
        parts.append("\n".join(f"- {remark}" for remark in said))
    return "\n\n".join(parts)


def page(document: dict[str, Any], images: str) -> str:
    """All tables with their plots, for the reference."""
    results = Results(document["scenarios"])
    parts = [conditions(document)]
    for name in NAMES:
        if name not in results:
            continue
        title = scenario(name).TITLE
        parts.append(f"## {title}\n\n{SECTIONS[name](results)}")
        if name in WITH_PLOT and any(case["runs"] for case in results.cases(name)):
            parts.append(f"![{title}]({images}/bench-{name}.svg)")
    parts.append(f"## To reach\n\n{targets(results)}")
    said = remarks(results)
    if said:
        parts.append("\n".join(["## Remarks\n", *(f"- {remark}" for remark in said)]))
    return "\n\n".join(parts)


def conditions(document: dict[str, Any]) -> str:
    """One paragraph: where, with what, how much."""
    facts = document["facts"]
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items() if number)
    hot_path = "compiled" if facts.get("compiled") else "in Python"
    return (
        f"Medians of {document['effort']['rounds']} interleaved rounds of {document['effort']['events']:,}"
        f" events ({document['effort']['name']} form); {facts['implementation']} {facts['python']},"
        f" {facts['system']}, {facts['processor']}, {facts['cores']} cores, output on"
        f" {facts['file_system']}; commit {facts['commit'] or 'unknown'}; {packages};"
        f" pylog_struct's hot path {hot_path}."
    )
