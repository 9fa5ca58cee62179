"""What the demo prints at its end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from books import Check, Contents
from load import Load
from rich.console import Console
from rich.table import Table

from pylog_struct.cli.pretty import Event, pretty
from pylog_struct.cli.reading import last_lines, read_lines

_SAMPLE = re.compile(r"^(pylog_[a-z_]+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right")
    return table


def show(
    console: Console,
    load: Load,
    numbers: dict[str, Any],
    contents: Contents,
    metrics: str,
    output: Path,
) -> None:
    """Print everything but the accounts."""
    sinks = numbers["sinks"]
    root = sinks[numbers["root"]]
    details = {name: sink["details"] for name, sink in sinks.items()}

    console.rule("[bold]Throughput")
    console.print(
        f"{load.requests:,} requests in {load.seconds:.1f} s = {load.requests / load.seconds:,.0f}/s;"
        f"  {numbers['emitted']:,} events = {numbers['emitted'] / load.seconds:,.0f}/s"
    )
    answers = _table("Answers", "request", "status", "number")
    for (route, status), number in sorted(load.answers.items()):
        answers.add_row(route, str(status), f"{number:,}")
    console.print(answers)

    console.rule("[bold]Records")
    records = _table("Per sink", "sink", "received", "written", "dropped", "waiting", "MB written")
    for name, sink in sinks.items():
        cells = [f"{sink[key]:,}" for key in ("received", "written", "dropped", "waiting")]
        records.add_row(name, *cells, f"{sink['bytes_written'] / 1e6:.1f}")
    console.print(records)
    levels = ", ".join(f"{number:,} {level}" for level, number in contents.levels.most_common())
    console.print(f"In the files: {levels}")
    drops = _table("Drops", "reason and level", "records")
    for what, number in sorted(root["drops"].items()):
        drops.add_row(what, f"{number:,}")
    console.print(drops if root["drops"] else "Drops: none")

    console.rule("[bold]Files")
    for line in (output / "shop.stderr").read_text().splitlines():
        console.print(f"  {line}", style="yellow", soft_wrap=True, markup=False)
    for prefix, what in [
        ("failover.switches", "switches"),
        ("rollovers.", "roll-overs"),
        ("archives_deleted.", "archives deleted by retention"),
    ]:
        found = [
            f"{value:.0f} {key.removeprefix(prefix)}".strip() + f" ({sink})"
            for sink, known in details.items()
            for key, value in known.items()
            if key.startswith(prefix) and value
        ]
        console.print(f"{what}: {', '.join(found) or 'none'}")
    archives = sorted((output / "primary").glob("*.gz"))
    console.print(f"archives kept: {len(archives)}")
    for path in [*archives, *sorted(output.glob("*/shop.jsonl"))]:
        console.print(f"  {path}  {path.stat().st_size:,} bytes")

    console.rule("[bold]The last lines, and the last error  (pylog view)")
    active = output / "primary" / "shop.jsonl"
    for line in last_lines(active, 5):
        console.print(pretty(Event(line)), soft_wrap=True)
    errors = [
        line
        for path in [*archives[-1:], active]
        for line in read_lines(path)
        if b'"exception":' in line
    ]
    for line in errors[-1:]:
        console.print(pretty(Event(line)), soft_wrap=True)

    console.rule("[bold]Metrics, scraped from /metrics")
    for sample in _SAMPLE.finditer(metrics):
        name, labels, value = sample.groups()
        if float(value) and not name.endswith(("_bucket", "_created")):
            console.print(f"{name}{labels or ''} {value}", soft_wrap=True, markup=False)


def show_accounts(console: Console, checks: list[Check]) -> int:
    """Print the accounts; return the exit code."""
    console.rule("[bold]The ledger")
    table = _table("", "", "one side", "other side", "")
    for check in checks:
        verdict = "[green]ok" if check.balanced else "[bold red]WRONG"
        table.add_row(check.what, f"{check.left:,}", f"{check.right:,}", verdict)
    console.print(table)
    if all(check.balanced for check in checks):
        console.print("[bold green]The ledger balances: every event is in a file or in a counter.")
        return 0
    console.print("[bold red]The ledger does NOT balance.")
    return 1
