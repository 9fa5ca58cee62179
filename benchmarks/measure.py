"""One measurement in a process of its own: ``measure.py JOB RESULT``, two files of JSON.

Nothing but the scenario and its contestant is imported here.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path


def main() -> None:
    """Do what JOB says; RESULT holds numbers, or why there are none."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    module = importlib.import_module(f"scenarios.{job['scenario']}")
    directory = Path(job["directory"])
    try:
        result = module.measure(job["contestant"], job["options"], directory)
    except ImportError as error:
        result = {"missing": str(error)}
    except Exception as error:
        traceback.print_exc()
        result = {"error": f"{type(error).__name__}: {error}"}
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")


if __name__ == "__main__":
    main()
