"""What ``import`` costs, in fresh processes with compiled bytecode at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from effort import Case, Effort

TITLE = "Import"
MODULES = {
    "ours": "pylog_struct",
    "configured": "pylog_struct; pylog_struct.configure()",  # what was only put off shows here
    "dependencies": "structlog, orjson, prometheus_client",
    "structlog": "structlog",
    "loguru": "loguru",
    "picologging": "picologging",
    "logbook": "logbook",
}


def cases(effort: Effort) -> list[Case]:
    """The quick form: what the table needs."""
    names = ("ours", "dependencies") if effort.name == "quick" else MODULES
    return [Case.of(name, times=effort.choose(full=7, quick=5, tiny=1)) for name in names]


def measure(contestant: str, options: dict[str, Any], directory: Path) -> dict[str, float]:
    """Import it once to compile it (the bytecode goes to a directory of this run), then time it."""
    statement = f"import {MODULES[contestant]}"
    code = f"import time; s = time.perf_counter(); {statement}; print(time.perf_counter() - s)"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(directory)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    found = [
        float(
            subprocess.run(
                [sys.executable, "-c", code],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(options["times"] + 1)
    ]
    return {"milliseconds": median(found[1:]) * 1e3, "least": min(found[1:]) * 1e3, "lost": 0}
