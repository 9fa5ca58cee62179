"""How many machine instructions an event takes: a count that other processes on the machine cannot blur.

``python benchmarks/instructions.py`` runs each contestant twice under callgrind, with so many events and
with twice as many, and prints the difference for one event.  Needs ``valgrind``.  System calls are not
in it: callgrind counts what the process itself executes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from contestants import CONTESTANTS

WHO = ("bare", "structlog", "picologging", "ours", "ours_pure", "ours_queued", "ours_queued_pure")


def child(contestant: str, events: int, path: Path) -> None:
    """Log so many events and end without ceremony: what is counted is the difference of two of these."""
    subject = CONTESTANTS[contestant].build(path)
    for number in range(events):
        subject.emit(number)
    subject.drain()
    subject.finish()
    os._exit(0)


def count(contestant: str, events: int, folder: Path) -> int:
    """Instructions of one whole process."""
    ended = subprocess.run(
        [
            "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable,
            __file__, "--child", contestant, "--events", str(events),
            "--path", str(folder / f"{contestant}-{events}.jsonl"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", ended.stderr)
    if found is None:
        sys.exit(f"callgrind said nothing of a count:\n{ended.stderr}")
    return int(found[1])


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--only", default=",".join(WHO), help="contestants, with commas")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.events, options.path)
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: apt-get install valgrind")
    print("| instructions for one event |  |\n| --- | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            once, twice = (count(name, options.events * n, Path(folder)) for n in (1, 2))
            label = CONTESTANTS[name].label
            print(f"| {label} | {(twice - once) / options.events:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
