"""``make bench``: this library beside others, the same events to one file each.

Every measurement is a process of its own; rounds are interleaved; medians are compared, and lines
are counted.  What is measured and how: docs/explanation/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report
from apart import contest, rounds_of
from effort import EFFORTS, Case, Effort
from facts import facts
from progress import progress
from results import Results
from scenarios import NAMES, scenario
from targets import table

OURS = ("ours", "ours_queued", "ours_pure", "ours_queued_pure")


def names(text: str) -> list[str]:
    """A list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Compare pylog_struct with other loggers on this machine.",
        epilog=f"Scenarios: {', '.join(NAMES)}.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="the rows of the table, under a minute"
    )
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, help="how often each measurement is repeated")
    parser.add_argument("--events", type=int, help="events in one measurement")
    parser.add_argument("--only", type=names, help="scenarios to run, with commas between")
    parser.add_argument("--contestants", type=names, help="contestants to run, with commas between")
    parser.add_argument(
        "--dir", type=Path, help="where the logs go (default: the temporary directory)"
    )
    parser.add_argument("--json", type=Path, help="write everything that was measured there")
    parser.add_argument("--plots", type=Path, help="draw plots into that directory")
    return parser.parse_args()


def plan_of(options: argparse.Namespace, effort: Effort) -> dict[str, Sequence[Case]]:
    """Scenario → cases, as far as they were asked for."""
    wanted = options.only or NAMES
    unknown = set(wanted) - set(NAMES)
    if unknown:
        sys.exit(
            f"no scenario is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
        )
    plan = {
        name: [
            case
            for case in scenario(name).cases(effort)
            if not options.contestants or case.contestant in options.contestants
        ]
        for name in wanted
    }
    return {name: cases for name, cases in plan.items() if cases}


def effort_of(options: argparse.Namespace) -> Effort:
    """The form, with what the command line changes."""
    chosen = EFFORTS["quick" if options.quick else "tiny" if options.tiny else "full"]
    return Effort(chosen.name, options.rounds or chosen.rounds, options.events or chosen.events)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure; return the document that goes to the JSON file."""
    effort = effort_of(options)
    plan = plan_of(options, effort)
    total = sum(len(cases) * rounds_of(name, effort) for name, cases in plan.items())
    with progress(total) as tell:
        scenarios = contest(plan, effort, options.dir, tell)
    return {
        "facts": facts(options.dir),
        "effort": {"name": effort.name, "rounds": effort.rounds, "events": effort.events},
        "scenarios": scenarios,
        "table": table(Results(scenarios)),
    }


def text(document: dict[str, Any]) -> str:
    """Everything, as Markdown."""
    results = Results(document["scenarios"])
    parts = [f"## {title}\n\n{part}" for title, part in report.sections(results)]
    parts.append(f"## To reach\n\n{report.targets(results)}")
    remarks = report.remarks(results)
    if remarks:
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join([*parts, report.conditions(document), report.score(results)])


def broken(document: dict[str, Any]) -> bool:
    """Whether something of ours did not run or lost a line: that is no matter of speed."""
    results = Results(document["scenarios"])
    return any(who in OURS for _, who, _ in (*results.troubles(), *results.losses()))


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    if options.dir:
        options.dir.mkdir(parents=True, exist_ok=True)
    document = run(options)
    print(text(document))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if options.plots:
        from plots import draw

        draw(document, options.plots)
    if broken(document):
        sys.exit("the benchmark itself failed: something of pylog_struct did not run or lost lines")


if __name__ == "__main__":
    main()
