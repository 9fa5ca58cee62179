"""Fill the generated parts of README.md from real runs: ``update_readme.py [demo] [bench]``.

Run by ``make readme``.  Every number in the README comes from here, so that none can grow old
unseen.  Paths of this machine are made relative.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def output_of(script: str) -> str:
    """Run a script of the project and return what it printed."""
    result = subprocess.run(
        [sys.executable, script],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in result.stdout.replace(f"{ROOT}/", "").splitlines()]
    return "\n".join(lines).strip()


def fill(text: str, part: str, content: str) -> str:
    """Put *content* between the markers of *part*."""
    pattern = re.compile(rf"(<!-- {part}:start -->\n).*?(<!-- {part}:end -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        sys.exit(f"README.md: the markers of {part!r} are missing or doubled")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def main() -> None:
    """Run what was asked for, or both, and write README.md once."""
    parts = sys.argv[1:] or ["demo", "bench"]
    text = README.read_text("utf-8")
    for part in parts:
        if part == "demo":
            demo = output_of("examples/shop/demo.py")
            text = fill(text, part, f"```console\n$ make demo\n{demo}\n```")
        elif part == "bench":
            text = fill(text, part, output_of("benchmarks/run.py"))
        else:
            sys.exit(f"no generated part is called {part!r}; there are demo and bench")
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
