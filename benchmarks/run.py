"""``make bench``: this library beside others, the same events to one file each.

Every measurement is a process of its own; rounds are interleaved, so that a slow minute of the
machine hits all contestants; medians are compared.  "call" is what the application's thread pays
for one event, "done" includes the time until everything is in the file.  The lines are counted:
a contestant that lost some is marked.  No verdict: the numbers hold for this machine and these events.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from contestants import CONTESTANTS, PACKAGES, REFERENCE

WARM_UP = 1000


def measure(name: str, events: int, path: Path) -> dict[str, float]:
    """Run one contestant in this process."""
    log, finish = CONTESTANTS[name](path)
    for number in range(WARM_UP):
        log(number)
    started = time.perf_counter()
    cpu = time.process_time()
    for number in range(events):
        log(number)
    called = time.perf_counter()
    finish()
    done = time.perf_counter()
    cpu = time.process_time() - cpu
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    return {
        "call_us": (called - started) / events * 1e6,
        "done_us": (done - started) / events * 1e6,
        "cpu_us": cpu / events * 1e6,
        "lost": events + WARM_UP - lines,
    }


def measure_apart(name: str, events: int) -> dict[str, float]:
    """Run one contestant in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="pylog-bench-") as directory:
        command = [sys.executable, __file__, "--only", name, "--events", str(events)]
        result = subprocess.run(
            [*command, "--path", str(Path(directory, "out.jsonl"))],
            check=False,
            capture_output=True,
            text=True,
        )
    if result.returncode:
        sys.exit(f"{name} failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def contest(rounds: int, events: int) -> dict[str, list[dict[str, float]]]:
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for number in range(rounds):
        names = list(CONTESTANTS)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            results[name].append(measure_apart(name, events))
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results


def summary(results: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Medians of all rounds, and the ratio to the reference."""
    medians = {
        name: {key: median(run[key] for run in runs) for key in ("call_us", "done_us", "cpu_us")}
        | {"lost": sum(run["lost"] for run in runs)}
        for name, runs in results.items()
    }
    for row in medians.values():
        row["call_ratio"] = row["call_us"] / medians[REFERENCE]["call_us"]
        row["done_ratio"] = row["done_us"] / medians[REFERENCE]["done_us"]
    return medians


def table(rows: dict[str, dict[str, float]]) -> str:
    lines = [
        "| contestant | call, µs | ratio | done, µs | ratio | CPU, µs | lost |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['call_us']:.2f} | {row['call_ratio']:.2f} | {row['done_us']:.2f}"
            f" | {row['done_ratio']:.2f} | {row['cpu_us']:.2f} | {row['lost']:.0f} |"
        )
    return "\n".join(lines)


def machine() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 10,000 events")
    parser.add_argument("--json", type=Path, help="write every measurement there")
    parser.add_argument("--only", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.events, options.path)))
        return
    rounds, events = (3, 10_000) if options.quick else (options.rounds, options.events)
    results = contest(rounds, events)
    rows = summary(results)
    facts = machine() | {"rounds": rounds, "events": events}
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    print(f"\n{table(rows)}\n")
    print(
        f"Ratios to {REFERENCE!r}. Medians of {rounds} rounds of {events:,} events; Python {facts['python']},",
        end=" ",
    )
    print(f"{facts['system']}, {facts['cores']} cores; {packages}.")
    if options.json:
        document = {"facts": facts, "summary": rows, "rounds": results}
        options.json.write_text(json.dumps(document, indent=1), "utf-8")


if __name__ == "__main__":
    main()
