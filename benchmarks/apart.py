"""Runs measurements, each in a process of its own, interleaved over the rounds.

A slow minute of the machine then hits every contestant of a scenario alike.  What a contestant
cannot do (not installed, crashed, too slow) becomes its result, and the others go on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from effort import Case, Effort
from scenarios import scenario

MEASURE = Path(__file__).with_name("measure.py")
LIMIT = 60.0  # seconds for one measurement, unless its scenario says more


def one(name: str, case: Case, where: Path | None, limit: float | None = None) -> dict[str, Any]:
    """Do one measurement with an empty directory below *where* (the system's by default)."""
    limit = limit or getattr(scenario(name), "LIMIT", LIMIT)
    with tempfile.TemporaryDirectory(prefix="pylog-bench-", dir=where) as directory:
        work = Path(directory, "work")
        work.mkdir()
        job, result = Path(directory, "job.json"), Path(directory, "result.json")
        what = {
            "scenario": name,
            "contestant": case.contestant,
            "options": dict(case.options),
            "directory": str(work),
        }
        job.write_text(json.dumps(what), "utf-8")
        try:
            ended = subprocess.run(
                [sys.executable, str(MEASURE), str(job), str(result)],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {limit:g} s, ended"}
        if result.exists():
            found = json.loads(result.read_text("utf-8"))
            said = ended.stderr.strip()
            if ended.returncode:
                found.setdefault("error", f"ended with status {ended.returncode}")
            return found | ({"said": said[-2000:]} if said else {})
        last = (ended.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        return {"error": f"died with status {ended.returncode}: {last}"}


def rounds_of(name: str, effort: Effort) -> int:
    """How often a scenario is repeated."""
    own = getattr(scenario(name), "rounds", None)
    return own(effort) if own else effort.rounds


def contest(
    plan: dict[str, Sequence[Case]],
    effort: Effort,
    where: Path | None,
    tell: Callable[[str, str], object],
) -> dict[str, list[dict[str, Any]]]:
    """Run a plan (scenario → cases); return for each scenario its cases with all their runs.

    A case that failed in one round is left out of the later ones.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for name, cases in plan.items():
        entries = results[name] = [
            {"contestant": case.contestant, "options": dict(case.options), "runs": []}
            for case in cases
        ]
        for number in range(rounds_of(name, effort)):
            shift = number % max(len(cases), 1)
            order = list(zip(cases, entries, strict=True))
            for case, entry in order[shift:] + order[:shift]:
                tell(name, case.contestant)
                if "missing" in entry or "error" in entry:
                    continue
                run = one(name, case, where)
                for trouble in ("missing", "error", "said"):
                    if trouble in run:
                        entry[trouble] = run.pop(trouble)
                if "missing" not in entry and "error" not in entry:
                    entry["runs"].append(run)
    return results
